"""The tokens of questions through the layers in one step of fixed shape, over the buffers that decoding goes on with.

Like a decoding step (`static_step`), of several tokens in each row: text that comes after what the buffers hold.
"""

from typing import Any

import torch

from llava.model.generation.static_step import StepState, masks_of, run_layer
from llava.model.language_model.masks import windows_of

ROUND_TO = 8  # columns, so that questions of similar length share a captured step
MOST_TOKENS = 2048  # of a batch: with more a device computes for longer than its kernels take to launch


def columns_for(rows: int, longest: int) -> int | None:
    """Columns of a batch of questions whose longest has so many tokens; None: too many to be worth a step."""
    columns = -(-longest // ROUND_TO) * ROUND_TO
    return columns if rows * columns <= MOST_TOKENS else None


def run_prompt(model: Any, state: StepState, embeds: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
    """Logits (B, V) of the last tokens; the state is moved on by T columns in place.

    Args:
        embeds: (B, T, D), padded on the left.
        padding: (B, 1) int64, columns of padding in each row.
    """
    decoder, hidden = model.get_model(), embeds
    steps = torch.arange(embeds.shape[1], device=embeds.device)
    windows = windows_of(model.config)
    for stage, (first, stop) in enumerate(state.bounds):
        columns, filler = state.columns[stage] + steps, state.fillers[stage]
        filler.index_copy_(1, columns, steps < padding)
        masks = masks_of(model, filler, columns, set(windows[first:stop]))
        positions = state.positions[stage] + (steps - padding).clamp(min=0)
        rotary = decoder.rotary_emb(hidden, position_ids=positions)
        for number in range(first, stop):
            mask = masks[windows[number]]
            hidden = run_layer(decoder.layers[number], hidden, mask, rotary, state.buffers[number], columns)
        state.columns[stage].add_(len(steps))
        state.positions[stage].add_(len(steps) - padding)
    return model.lm_head(decoder.norm(hidden[:, -1:]))[:, -1]
