"""A KV cache whose layers may hold different numbers of tokens, and which knows which of them are padding.

A *stage* is a run of layers between two reductions. Its layers hold the same tokens; every stage has its own count, so
a new token's position differs from stage to stage.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedConfig
from transformers.cache_utils import Cache, DynamicCache

from llava.errors import InputError
from llava.model.cache.growing_layer import GrowingLayer
from llava.model.cache.shared_prefix import SharedPrefix
from llava.model.layout import Layout


@dataclass
class Stage:
    """Layers `first` to `stop` - 1.

    `filler` (B, T), bool, marks cached positions to ignore; positions past its end are real. None: there is no filler.
    """

    first: int
    stop: int
    filler: torch.Tensor | None = None


class StagedCache(DynamicCache):
    """transformers' growing cache plus the stages and their padding. One per request; the model keeps none of it.

    Args:
        room: columns each layer keeps free for new tokens, which then cost no copy of the old ones.
    """

    def __init__(self, config: PreTrainedConfig, room: int = 0) -> None:
        super().__init__()
        self._config = config
        # Layers with a sliding window keep everything too: which tokens are in it depends on each row's padding, and
        # a conversation that is cropped or asked again needs those that had left it.
        self.layers: list[Any] = [GrowingLayer(room) for _ in range(config.num_hidden_layers)]
        self.layer_class_to_replicate = None
        self.stages: list[Stage] = []
        self.surplus: tuple[int, ...] = ()  # per row, image tokens minus the <image> tokens they stand for
        # Per row, the positions that its images take beyond their tokens, where those kept the whole image's; (): none.
        self.gaps: tuple[int, ...] = ()
        self.prompt_columns = 0  # of layer 0, while transformers generates after embeddings, which it does not count
        self.closed_by: str | None = None  # what left rows that no sequence belongs to
        self.keeps_positions = False  # a new token stands in every stage where it stands in the first one
        # A method that removes nothing and chooses again at each new token, and where the images are it chooses of.
        self.masking: tuple[Any, Any] | None = None
        self.shared: SharedPrefix | None = None  # what comes before all rows and is in none of them

    def open(self, bounds: list[tuple[int, int]], keeps_positions: bool) -> None:
        """Set the stages, once, before the first token.

        Args:
            keeps_positions: tokens keep their positions when others are dropped; else each stage counts its own.
        """
        assert not self.stages, "a cache is laid out once"
        self.stages = [Stage(first, stop) for first, stop in bounds]
        self.keeps_positions = keeps_positions

    def check_rows(self, rows: int) -> None:
        """Refuse to be continued by another number of rows, or after a beam search.

        Raises:
            InputError: says which, and what to do.
        """
        if self.closed_by is not None:
            raise InputError(
                f"a cache must belong to the sequences that go on: got one of a {self.closed_by}, whose rows are not "
                f"its answers; leave past_key_values out and pass the whole conversation"
            )
        held = self.layers[0].keys
        if held is not None and held.numel() and len(held) != rows:
            raise InputError(
                f"a cache has a row for each sequence: got one of {len(held)} rows for {rows}; pass a prompt for each "
                f"of its rows, or leave past_key_values out"
            )

    def like(self, room: int = 0) -> "StagedCache":
        """An empty cache of the same stages."""
        assert self.masking is None, "where images are is known of this cache's rows only"
        other = StagedCache(self._config, room)
        other.open([(stage.first, stage.stop) for stage in self.stages], self.keeps_positions)
        other.shared = self.shared
        return other

    def known_filler(self, stage: int) -> torch.Tensor:
        """(B, cached) bool: the stage's padding, False everywhere where there is none."""
        filler = self.filler_and(stage, None, 0)
        if filler is not None:
            return filler
        keys = self.layers[self.stages[stage].first].keys
        return torch.zeros(len(keys), keys.shape[2], dtype=torch.bool, device=keys.device)

    def length(self, stage: int) -> int:
        """Cached positions of a stage, padding included; those of a shared prefix come before them."""
        return self.get_seq_length(self.stages[stage].first)

    def prefix_length(self, stage: int) -> int:
        """Tokens of a shared prefix in a stage."""
        return self.shared.length(self.stages[stage].first) if self.shared is not None else 0

    def view(self, stage: int) -> Cache:
        """A cache of this stage's first layer alone, for transformers' mask functions, which look at layer 0."""
        return Cache(layers=[self.layers[self.stages[stage].first]])

    def filler_and(self, stage: int, new: torch.Tensor | None, count: int) -> torch.Tensor | None:
        """(B, cached + count) bool: the stage's padding followed by that of `count` new positions; None: no padding."""
        old = self.stages[stage].filler
        if old is None and new is None:
            return None
        known = old if old is not None else new[:, :0]  # type: ignore[index]
        known = torch.nn.functional.pad(known, (0, self.length(stage) - known.shape[1]))
        fresh = new if new is not None else known.new_zeros((len(known), count))
        return torch.cat([known, fresh], dim=1)

    def add_surplus(self, surplus: tuple[int, ...]) -> None:
        """Count the images of newly laid out prompts."""
        self.surplus = tuple(old + new for old, new in zip(self.surplus or (0,) * len(surplus), surplus))

    def add_gaps(self, gaps: tuple[int, ...]) -> None:
        """Count in what newly laid out prompts leave between positions, a number for each row; (): nothing."""
        self.gaps = tuple(old + new for old, new in zip(self.gaps or (0,) * len(gaps), gaps)) if gaps else self.gaps

    def after(self, layout: Layout) -> int:
        """The position that comes after new tokens, at most: what is cached, the tokens, and the gaps of both."""
        most = max(layout.gaps, default=0) + max(self.gaps, default=0)
        return self.prefix_length(0) + self.get_seq_length() + layout.width + most

    def real_tokens(self, batch: int) -> torch.Tensor:
        """(B,) int64 on the CPU: tokens of the first stage that are not padding."""
        filler = self.stages[0].filler
        ignored = filler.sum(dim=1).cpu() if filler is not None else torch.zeros(batch, dtype=torch.long)
        return self.prefix_length(0) + self.length(0) - ignored

    def mark_unused(self, after_end: torch.Tensor) -> None:
        """Turn what was cached of rows that had already ended into padding. `after_end`: (B, new) bool."""
        cached = after_end[:, :-1]  # the newest token is never in the cache
        if not cached.any():
            return
        for number, stage in enumerate(self.stages):
            filler = self.known_filler(number)
            filler[:, filler.shape[1] - cached.shape[1] :] |= cached
            stage.filler = filler

    def nbytes(self) -> int:
        """Bytes of all cached keys and values."""
        held = [tensor for layer in self.layers for tensor in (layer.keys, layer.values) if tensor is not None]
        held += self.shared.states if self.shared is not None else ()
        return sum(tensor.numel() * tensor.element_size() for tensor in held)

    def _check_unmasked(self) -> None:
        if self.masking is not None:
            raise InputError(
                "a method that masks image tokens chooses again for the rows it began with: got others; take the form "
                "of it that drops them"
            )

    def _map_filler(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        for stage in self.stages:
            if stage.filler is not None:
                stage.filler = change(stage.filler)

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Follow the beams; those of one prompt have its gaps."""
        super().reorder_cache(beam_idx)
        self._map_filler(lambda filler: filler[beam_idx.to(filler.device)])

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row."""
        self._check_unmasked()
        super().batch_repeat_interleave(repeats)
        self.gaps = tuple(gap for gap in self.gaps for _ in range(repeats))
        self._map_filler(lambda filler: filler.repeat_interleave(repeats, dim=0))

    def repeat_rows(self, repeats: int) -> None:
        """Make room for several answers to each prompt, before the first token or after some."""
        if self.stages:
            self.batch_repeat_interleave(repeats)
        self.surplus = tuple(surplus for surplus in self.surplus for _ in range(repeats))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep some rows."""
        self._check_unmasked()
        super().batch_select_indices(indices)
        self.gaps = tuple(self.gaps[row] for row in indices.tolist()) if self.gaps else ()
        self._map_filler(lambda filler: filler[indices.to(filler.device)])

    @contextlib.contextmanager
    def embedded_prompt(self, columns: int) -> Iterator[None]:
        """While transformers generates after so many columns of layer 0 that it has no ids of."""
        self.prompt_columns = columns
        try:
            yield
        finally:
            self.prompt_columns = 0

    def crop(self, size: int) -> None:
        """Forget the newest positions: `-size` of them, or, for a positive `size`, all past that length at layer 0.

        Drafts of older releases of transformers (5.12) give a length, which counts from the end of an embedded prompt.
        """
        surplus = -size if size <= 0 else max(0, self.length(0) - self.prompt_columns - size)
        for layer in self.layers:
            if surplus:
                layer.crop(-surplus)
        for number, stage in enumerate(self.stages):
            if stage.filler is not None:
                stage.filler = stage.filler[:, : self.length(number)]

    def reset(self) -> None:
        """Forget everything, stages included."""
        super().reset()
        self.stages, self.surplus, self.gaps, self.closed_by, self.masking = [], (), (), None, None
        self.shared = None
