"""What is kept of a picture that is asked about often, and rows of a batch that begin with it."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from llava.hf.cache import PromptCache
from llava.hf.note import Pictures
from llava.hf.plan import Plan
from llava.model.layout import Layout
from llava.reduction.sent import sent


@dataclass(frozen=True, eq=False)
class ImagePrefix:
    """What `encode_image` returns and `ask` starts from. Belongs to one reduced model.

    Attributes:
        ids: (1, P) int64, the prompt up to and with its last placeholder.
        start: the same numbers, on the host.
        cache: of one row, in transformers' own form: a copy of it (`copy.deepcopy`) is a `past_key_values` of
            `generate`, whose prompt begins with `ids`. None for a method that reads the question: the LLM has not run.
        plan: of the model.
        pictures: where the LLM has not run, what is to enter it, by the id of the placeholder.
        more: there, what the processor says of the pictures besides their pixels (`image_grid_thw`).
        tokens_per_layer: tokens of one of its pictures in an LLM layer, on average over pictures and layers; None: the
            LLM has not run.
    """

    ids: torch.Tensor
    start: tuple[int, ...]
    cache: PromptCache | None
    plan: Plan
    pictures: Mapping[int, Pictures] = field(default_factory=dict)
    more: Mapping[str, torch.Tensor] = field(default_factory=dict)
    tokens_per_layer: float | None = None

    @property
    def nbytes(self) -> int:
        """Bytes it holds on the device."""
        entering = [own.entering for own in self.pictures.values() if own.entering is not None]
        held = [tensor for one in entering for tensor in (one.tokens, *one.deep)]
        own = sum(tensor.numel() * tensor.element_size() for tensor in held)
        return own + (0 if self.cache is None else self.cache.nbytes())


def row_caches(cache: PromptCache, layouts: Sequence[Layout], prompts: Sequence[int]) -> list[PromptCache]:
    """The rows of a cache, each without its padding.

    Args:
        layouts: of the cached tokens in each stage, padded on the left.
        prompts: tokens of each row's prompt, whose image tokens have not all entered.
    """
    rows = []
    for row, prompt in enumerate(prompts):
        made = _opened(cache, 0)
        made.dropped = prompt - layouts[0].lengths[row]
        for layout, stage in zip(layouts, cache.stages, strict=True):
            for number in range(stage.first, stage.stop):
                held, new = cache.layers[number], made.layers[number]
                # A copy of its own, so that a row which is kept does not keep its whole batch.
                parts = (
                    states[row : row + 1, :, -layout.lengths[row] :].clone() for states in (held.keys, held.values)
                )
                new.hold(*parts, layout.lengths[row])
        if cache.rope_deltas is not None:
            made.rope_deltas = cache.rope_deltas[row : row + 1]
        rows.append(made)
    return rows


def joined(caches: Sequence[PromptCache | None], width: int, copies: int, room: int) -> PromptCache:
    """A cache whose rows begin with those of one row each (None: with nothing), padded on the left.

    Rows of one cache alone share its tensors until they grow; others are copied.

    Args:
        width: columns of the prompts that it stands for.
        copies: of each row, for beams or several answers; transformers makes them of all but the cache.
    """
    every = [cache for cache in caches for _ in range(copies)]
    first = next(cache for cache in caches if cache is not None)
    alone = all(cache is first for cache in caches)
    made = _opened(first, room)
    for number, stage in enumerate(first.stages):
        lengths = [0 if cache is None else cache.length(number) for cache in every]
        for layer in range(stage.first, stage.stop):
            held = first.layers[layer]
            new = made.layers[layer]
            if alone:
                new.lazy_initialization(held.keys, held.values)
                new.keys, new.values = (one.expand(len(every), -1, -1, -1) for one in (held.keys, held.values))
            else:
                new.hold(*_padded(every, layer, lengths, room), max(lengths))
        if min(lengths) < max(lengths):
            device = first.layers[stage.first].keys.device
            missing = sent([[max(lengths) - length] for length in lengths], device)
            made.stages[number].filler = torch.arange(max(lengths), device=device) < missing
    made.dropped = width - max(0 if cache is None else cache.length(0) for cache in caches)
    if first.rope_deltas is not None:
        none = torch.zeros_like(first.rope_deltas)
        deltas = [None if cache is None else cache.rope_deltas for cache in caches]
        made.rope_deltas = torch.cat([none if own is None else own for own in deltas])
    return made


def _padded(
    caches: Sequence[PromptCache | None], layer: int, lengths: list[int], room: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values (B, G, widest + room, d) of one layer of all rows; neighbours of one cache at once."""
    widest, rows = max(lengths), range(len(caches))
    like = next(cache for cache in caches if cache is not None).layers[layer].keys
    made = []
    for name in ("keys", "values"):
        buffer = like.new_zeros(len(caches), like.shape[1], widest + room, like.shape[3])  # padding must be a number
        for _, group in itertools.groupby(rows, lambda row: id(caches[row])):
            first, *more = group
            cache, length = caches[first], lengths[first]
            if cache is not None:
                states = getattr(cache.layers[layer], name)
                buffer[first : first + 1 + len(more), :, widest - length : widest] = states
        made.append(buffer)
    return made[0], made[1]


def _opened(like: PromptCache, room: int) -> PromptCache:
    """An empty cache of the same stages."""
    made = PromptCache(like._config, room)
    made.open([(stage.first, stage.stop) for stage in like.stages], like.keeps_positions)
    return made
