"""A batch of questions about one picture that reads its prefix where it lies, instead of a copy in every row."""

from collections.abc import Sequence
from typing import Any

from llava.model.cache.growing_layer import GrowingLayer
from llava.model.cache.shared_prefix import SharedPrefix
from llava.model.cache.staged_cache import StagedCache
from llava.model.generation.prefix import ImagePrefix
from llava.model.language_model.masks import layer_masks, windows_of
from llava.model.language_model.shared_attention import SHARED_PREFIX
from llava.reduction.positions import KEEP


def one_for_all(model: Any, prefixes: Sequence[ImagePrefix | None], room: int) -> ImagePrefix | None:
    """The prefix that every row may read, or None where rows take copies: the numbers are the same.

    Copies are for a model loaded with another attention kernel, several prefixes or none, a method that looks away
    from tokens it keeps, ALiBi (distances in the masks), and windows that end inside a prefix.

    Args:
        room: columns that a row's own tokens take.
    """
    first = prefixes[0]
    if first is None or any(prefix is not first for prefix in prefixes) or first.reduction.masks:
        return None
    if model.config._attn_implementation != SHARED_PREFIX or model.training:
        return None
    if model.get_model().layer_masks is not layer_masks:
        return None
    most = max(first.lengths) + room
    return first if all(window is None or window >= most for window in windows_of(model.config)) else None


def start_beside(config: Any, prefix: ImagePrefix, rows: int, room: int) -> StagedCache:
    """A cache of empty rows that come after one prefix, whose tensors it refers to and never changes.

    Args:
        room: columns to keep free in every layer.
    """
    cache = StagedCache(config, room)
    cache.open(list(prefix.stages), prefix.reduction.positions == KEEP)
    cache.add_surplus((prefix.surplus,) * rows)
    cache.add_gaps((prefix.gap,) * rows if prefix.gap else ())
    cache.shared = SharedPrefix(tuple(states for block in prefix.blocks for states in block.states))
    for layer, states in zip(cache.layers, cache.shared.states, strict=True):
        assert isinstance(layer, GrowingLayer)
        heads, _, width = states.shape[1:]
        keys, values = (states.new_empty(rows, heads, room, width) for _ in range(2))
        layer.hold(keys, values, 0)
    return cache
