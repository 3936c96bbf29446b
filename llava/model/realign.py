"""Decoder inputs that a caller made, padded on any side, and back: the decoder itself is padded on the left."""

from dataclasses import dataclass

import torch

from llava.errors import InputError
from llava.model.fusion import Plan, fuse, fuse_labels, plan_fusion
from llava.model.layout import Layout


@dataclass(frozen=True)
class Realigned:
    """Text inputs without the padding of their caller.

    Attributes:
        embeds: (B, T, D), padded on the left.
        layout: the real tokens of each row.
        columns: (B, L) int64 on the CPU, where each given column is now; padding points to the row's last token.
        plan: how they came there.
    """

    embeds: torch.Tensor
    layout: Layout
    columns: torch.Tensor
    plan: Plan

    def follow(self, values: torch.Tensor) -> torch.Tensor:
        """(B, L) labels -> (B, T); padding gets none."""
        return fuse_labels(values, self.plan)

    def restore(self, outputs: torch.Tensor) -> torch.Tensor:
        """(B, T, V) -> (B, L, V), in the columns of the caller."""
        return outputs.take_along_dim(self.columns[..., None].to(outputs.device), dim=1)


def realign(embeds: torch.Tensor, attention_mask: torch.Tensor | None, cached: bool = False) -> Realigned | None:
    """Embeddings (B, L, D) with the padding of (B, L) `attention_mask` moved to the left; None: there is none.

    Args:
        cached: they follow a cache, which knows its own padding; a mask may have columns for that before the last L.

    Raises:
        InputError: for a mask that is no (B, L) of them, or a row of padding alone.
    """
    batch, count = embeds.shape[:2]
    if attention_mask is None:
        return None
    shape = tuple(attention_mask.shape)
    if shape != (batch, count) and not (cached and len(shape) == 2 and shape[0] == batch and shape[1] > count):
        raise InputError(
            f"attention_mask must name each token: got {shape}, expected {(batch, count)}; make "
            f"it with the inputs, or leave it out where nothing is padded"
        )
    mask = attention_mask[:, -count:].cpu().bool()
    if bool(mask.all()):
        return None
    plan = plan_fusion(torch.zeros(batch, count, dtype=torch.long), mask, [])
    rows, columns = (plan.source >= 0).nonzero().T
    places = torch.full((batch * count,), plan.layout.width - 1)
    places[plan.source[rows, columns]] = columns
    return Realigned(fuse(embeds, embeds[0, :0], plan), plan.layout, places.view(batch, count), plan)


def pad_right(layout: Layout) -> torch.Tensor:
    """(B, T) int64 on the CPU: columns of inputs padded on the left, in an order that has the padding on the right."""
    return (torch.arange(layout.width) + layout.padding(torch.device("cpu"))) % layout.width
