"""One decoding step over buffers of fixed shape. What changes from token to token is a tensor the step moves on itself.

That is what lets it be captured as a CUDA graph and replayed, or compiled once for many tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from llava.model.cache.staged_cache import StagedCache
from llava.model.language_model.masks import as_added, windows_of
from llava.reduction.sent import sent


@dataclass
class StepState:
    """What one decoding step reads and moves on. B rows, S stages, c(s) columns in stage s.

    Attributes:
        tokens: (B,) int64, the newest tokens.
        columns: for each stage (1,) int64, where their keys and values go.
        positions: for each stage (B, 1) int64.
        fillers: for each stage (B, c(s)) bool, True at padding.
        buffers: for each layer keys and values, (B, G, c(s), d).
        bounds: for each stage first and last + 1 layer.
    """

    tokens: torch.Tensor
    columns: list[torch.Tensor]
    positions: list[torch.Tensor]
    fillers: list[torch.Tensor]
    buffers: list[tuple[torch.Tensor, torch.Tensor]]
    bounds: list[tuple[int, int]]


class OneLayer:
    """What a transformers layer needs of a cache: somewhere to put the new token, and all tokens back."""

    def __init__(self, buffers: tuple[torch.Tensor, torch.Tensor], column: torch.Tensor) -> None:
        self._buffers, self._column = buffers, column

    def update(self, keys: torch.Tensor, values: torch.Tensor, *_: object, **__: object) -> tuple[torch.Tensor, ...]:
        """Write (B, G, T, d) into T columns and return the whole buffers."""
        return tuple(buffer.index_copy_(2, self._column, new) for buffer, new in zip(self._buffers, (keys, values)))


def run_layer(
    layer: Any,
    hidden: torch.Tensor,
    mask: torch.Tensor,
    rotary: tuple[torch.Tensor, torch.Tensor],
    buffers: tuple[torch.Tensor, torch.Tensor],
    column: torch.Tensor,
) -> torch.Tensor:
    """One host layer over the new tokens of each row, whose columns `column` has."""
    cache = OneLayer(buffers, column)
    return layer(hidden, attention_mask=mask, past_key_values=cache, use_cache=True, position_embeddings=rotary)


def run_step(model: Any, state: StepState, layer_step: Callable[..., torch.Tensor] = run_layer) -> torch.Tensor:
    """Logits (B, V) after `state.tokens`; the state is moved on by one column in place."""
    decoder = model.get_model()
    hidden = decoder.embed_tokens(state.tokens)[:, None]
    windows = windows_of(model.config)
    for stage, (first, stop) in enumerate(state.bounds):
        column, filler = state.columns[stage], state.fillers[stage]
        masks = masks_of(model, filler, column, set(windows[first:stop]))
        rotary = decoder.rotary_emb(hidden, position_ids=state.positions[stage])
        for number in range(first, stop):
            mask = masks[windows[number]]
            hidden = layer_step(decoder.layers[number], hidden, mask, rotary, state.buffers[number], column)
        state.columns[stage].add_(1)
        state.positions[stage].add_(1)
    return model.lm_head(decoder.norm(hidden))[:, -1]


def masks_of(
    model: Any, filler: torch.Tensor, columns: torch.Tensor, windows: set[int | None]
) -> dict[int | None, torch.Tensor]:
    """For each window (None: no limit) a mask (B, 1, T, c): what the tokens in T columns look at, of c columns.

    A token of padding looks at itself as well: a row that looks at nothing would not be a number.
    """
    column = torch.arange(filler.shape[1], device=filler.device)
    before, real = column <= columns[:, None], ~filler
    seen = before & real[:, None] | (column == columns[:, None])
    masks = {}
    for window in windows:
        near = seen
        if window is not None:  # it counts tokens, not columns
            place = (real & (column <= columns[-1:])).cumsum(dim=1)
            near = seen & (place[:, None] > place.index_select(1, columns)[..., None] - window)
        mask = near[:, None]
        masks[window] = as_added(mask, model.dtype) if model.config._attn_implementation == "eager" else mask
    return masks


def empty_state(cache: StagedCache, batch: int, capacities: list[int], device: torch.device) -> StepState:
    """Buffers of fixed shape for the stages of a cache; zeros, because what is masked must still be a number."""
    buffers = []
    for stage, capacity in zip(cache.stages, capacities):
        for number in range(stage.first, stage.stop):
            keys = cache.layers[number].keys
            shape = (batch, keys.shape[1], capacity, keys.shape[3])
            buffers.append((keys.new_zeros(shape), keys.new_zeros(shape)))
    return StepState(
        tokens=torch.zeros(batch, dtype=torch.long, device=device),
        columns=[torch.zeros(1, dtype=torch.long, device=device) for _ in capacities],
        positions=[torch.zeros(batch, 1, dtype=torch.long, device=device) for _ in capacities],
        fillers=[torch.zeros(batch, capacity, dtype=torch.bool, device=device) for capacity in capacities],
        buffers=buffers,
        bounds=[(stage.first, stage.stop) for stage in cache.stages],
    )


def clear(state: StepState) -> None:
    """Zeros into all buffers, in place: a number that is none counts even where its weight is 0."""
    for pair in state.buffers:
        for buffer in pair:
            buffer.zero_()


def fill(state: StepState, cache: StagedCache) -> None:
    """Copy a cache into a state, in place."""
    for number, stage in enumerate(cache.stages):
        length = cache.length(number)
        filler = cache.filler_and(number, None, 0)
        state.columns[number].fill_(length)
        state.fillers[number].zero_()
        state.positions[number].fill_(length)
        if filler is not None:
            state.fillers[number][:, :length] = filler
            state.positions[number].sub_(filler.sum(dim=1, keepdim=True))
        if cache.gaps:
            state.positions[number].add_(sent([[gap] for gap in cache.gaps], state.tokens.device))
        if cache.keeps_positions:
            state.positions[number].copy_(state.positions[0])
        for layer in range(stage.first, stage.stop):
            for buffer, held in zip(state.buffers[layer], (cache.layers[layer].keys, cache.layers[layer].values)):
                buffer[:, :, :length] = held
