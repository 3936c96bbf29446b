"""An image's part of a prompt, computed once: what every question about that image starts from.

A prefix is a prompt up to and with its last image token. Attention is causal, so its keys and values are the same for
every question that follows, unless the method reads the question: then only the image's tokens are shared.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from llava.constants import IMAGE_TOKEN_INDEX
from llava.errors import InputError
from llava.model.cache.growing_layer import GrowingLayer
from llava.model.cache.staged_cache import StagedCache
from llava.model.layout import Layout
from llava.model.places import Places
from llava.reduction import Reduction, name_of
from llava.reduction.positions import KEEP
from llava.reduction.sent import sent

Ids = torch.Tensor | Sequence[int]


@dataclass(frozen=True)
class Block:
    """Keys and values of layers `first` to `stop` - 1, which belong to one stage and lie on one device.

    `states` is (layers, 2, G, T, d): for each layer keys and values of G key heads, T tokens, d wide.
    """

    stage: int
    first: int
    stop: int
    states: torch.Tensor


@dataclass(frozen=True)
class ImagePrefix:
    """What `encode_image` returns and `ask` starts from. Belongs to one model and one method.

    Attributes:
        ids: the prompt up to and with its last image token, -200 for an image.
        reduction: the method it was made with.
        image_lengths: tokens of each of its images at the LLM's first layer.
        lengths: tokens of the whole prefix in each stage; empty where the LLM has not run.
        stages: first and last + 1 layer of each stage.
        blocks: the KV cache; empty where the LLM has not run.
        features: (n, D), the image tokens, where the LLM has not run or another image's may not have; else None.
        question: of a method that read it before the LLM, the tokens after the last image: it can be asked no other.
        modalities: of its images, as in `generate`; None: all are pictures.
        places: of a method that leaves gaps between positions, where its image tokens stand.
    """

    ids: tuple[int, ...]
    reduction: Reduction
    image_lengths: tuple[int, ...]
    lengths: tuple[int, ...] = ()
    stages: tuple[tuple[int, int], ...] = ()
    blocks: tuple[Block, ...] = ()
    features: torch.Tensor | None = None
    question: tuple[int, ...] | None = None
    modalities: tuple[str, ...] | None = None
    places: Places | None = None

    @property
    def surplus(self) -> int:
        """Image tokens minus the <image> tokens they stand for."""
        return sum(self.image_lengths) - len(self.image_lengths)

    @property
    def gap(self) -> int:
        """Positions that its images take beyond one for each token."""
        return sum(self.places.rooms) - sum(self.image_lengths) if self.places is not None else 0

    @property
    def tokens_per_layer(self) -> float | None:
        """Tokens of one of its images in an LLM layer, on average over images and layers; None: the LLM has not run."""
        if not self.blocks:
            return None
        text = len(self.ids) - len(self.image_lengths)
        runs = [stop - first for first, stop in self.stages]
        total = sum(run * (length - text) for run, length in zip(runs, self.lengths, strict=True))
        return total / sum(runs) / len(self.image_lengths)

    @property
    def nbytes(self) -> int:
        """Bytes it holds on the device."""
        held = [block.states for block in self.blocks] + ([] if self.features is None else [self.features])
        held += [self.places.tokens] if self.places is not None else []
        return sum(tensor.numel() * tensor.element_size() for tensor in held)


def split_prompt(ids: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A prompt as (up to and with the last image token, the question after it); no image: ((), everything)."""
    ids = tuple(ids)
    end = max((at + 1 for at, token in enumerate(ids) if token == IMAGE_TOKEN_INDEX), default=0)
    return ids[:end], ids[end:]


def question_after(prefix: ImagePrefix | None, ids: Sequence[int]) -> tuple[int, ...]:
    """The tokens to be run after a prefix, given those tokens or the whole prompt they end.

    Raises:
        InputError: for a prompt that begins otherwise, or a question without tokens.
    """
    start, question = split_prompt(ids)
    known = prefix.ids if prefix is not None else ()
    if start and start != known:
        raise InputError(
            f"a question must follow the prefix it is asked about: got a prompt whose {len(start)} tokens up to its "
            f"last <image> are not the prefix's {len(known)}; encode_image that prompt, or pass what follows <image>"
        )
    if not question:
        raise InputError("a question needs at least one token after the last <image>: got none; give it text")
    if prefix is not None and prefix.question is not None and question != prefix.question:
        raise InputError(
            f"{name_of(prefix.reduction)} reads the question before the LLM, so that an image's tokens are of one "
            f"question: got another one; encode_image the whole prompt for each, or use generate"
        )
    if min(question) < 0:
        raise InputError(f"ids of a question must be tokens: got {min(question)}; leave padding and labels out")
    return question


def cut_cache(cache: StagedCache, layouts: list[Layout]) -> list[tuple[tuple[int, ...], tuple[Block, ...]]]:
    """The rows of a cache without their padding: for each row, its length in each stage and its blocks.

    Args:
        layouts: the layout of the cached tokens in each stage, padded on the left.
    """
    pieces = []
    for number, stage in enumerate(cache.stages):
        layers = range(stage.first, stage.stop)
        for _, run in itertools.groupby(layers, lambda layer: cache.layers[layer].keys.device):
            held = list(run)
            states = [torch.stack([cache.layers[layer].keys, cache.layers[layer].values]) for layer in held]
            pieces.append((number, held[0], held[-1] + 1, torch.stack(states)))
    rows = []
    for row in range(len(layouts[0].lengths)):
        lengths = tuple(layout.lengths[row] for layout in layouts)
        # A copy of its own, so that a prefix which is kept does not keep its whole batch.
        blocks = tuple(
            Block(stage, first, stop, states[:, :, row, :, -lengths[stage] :].clone())
            for stage, first, stop, states in pieces
        )
        rows.append((lengths, blocks))
    return rows


def start_cache(config: Any, prefixes: Sequence[ImagePrefix | None], room: int) -> StagedCache:
    """A cache whose rows begin with prefixes (None: with nothing), and that has room for more tokens.

    Rows are padded on the left. The prefixes' own tensors are copied, once per distinct prefix, never changed.

    Args:
        room: columns to keep free in every layer.
    """
    cache = StagedCache(config, room)
    rows_of: dict[int, list[int]] = {}
    distinct: list[ImagePrefix] = []
    for row, prefix in enumerate(prefixes):
        if prefix is not None:
            if id(prefix) not in rows_of:
                distinct.append(prefix)
            rows_of.setdefault(id(prefix), []).append(row)
    if not distinct:
        return cache
    model = distinct[0]
    assert all(prefix.stages == model.stages for prefix in distinct), "prefixes of one batch have one schedule"
    cache.open(list(model.stages), model.reduction.positions == KEEP)
    cache.add_surplus(tuple(prefix.surplus if prefix is not None else 0 for prefix in prefixes))
    gaps = tuple(prefix.gap if prefix is not None else 0 for prefix in prefixes)
    cache.add_gaps(gaps if any(gaps) else ())
    for number, block in enumerate(model.blocks):
        lengths = [prefix.lengths[block.stage] if prefix is not None else 0 for prefix in prefixes]
        placed = [(prefix.blocks[number].states, rows_of[id(prefix)]) for prefix in distinct]
        states = _spread(placed, len(prefixes), max(lengths), room)
        for at, layer in enumerate(range(block.first, block.stop)):
            held = cache.layers[layer]
            assert isinstance(held, GrowingLayer)
            held.hold(states[at, 0], states[at, 1], max(lengths))
        if min(lengths) < max(lengths) and cache.stages[block.stage].filler is None:
            missing = torch.tensor([[max(lengths) - length] for length in lengths])
            cache.stages[block.stage].filler = sent(torch.arange(max(lengths)) < missing, states.device)
    return cache


def _spread(placed: list[tuple[torch.Tensor, list[int]]], batch: int, widest: int, room: int) -> torch.Tensor:
    """Copy the (layers, 2, G, T, d) states of each prefix to its rows of a (layers, 2, batch, G, widest + room, d)."""
    layers, _, heads, _, width = placed[0][0].shape
    states = placed[0][0].new_empty(layers, 2, batch, heads, widest + room, width)
    if len(placed) > 1 or sum(len(rows) for _, rows in placed) < batch:
        states[..., :widest, :] = 0  # padding is masked, but it must be a number
    for own, rows in placed:
        neighbours = rows[-1] - rows[0] + 1 == len(rows)
        where: slice | torch.Tensor = slice(rows[0], rows[-1] + 1) if neighbours else sent(rows, states.device)
        states[:, :, where, :, widest - own.shape[3] : widest] = own[:, :, None]
    return states


def padded(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, (B, L) int64 on the CPU, rows padded on the left with zeros."""
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows])
    starts = torch.tensor([[width - len(row)] for row in rows])
    return ids, (torch.arange(width) >= starts).long()


def listed(ids: Ids) -> Sequence[int]:
    """Ids of shape (L,) or (1, L) as numbers."""
    return ids.flatten().tolist() if isinstance(ids, torch.Tensor) else ids
