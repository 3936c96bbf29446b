"""Asking a method what is left of tokens after the projector."""

from collections.abc import Callable

import torch

from llava.model.evidence.projected import PictureEvidence, ViewEvidence
from llava.model.kept_order import view_order
from llava.model.multimodal_encoder.vision_tower import Encoded
from llava.model.places import ImageTokens, Places
from llava.model.trace import Trace
from llava.reduction import Reduction
from llava.reduction.sent import sent


def choose_in_views(method: Reduction, projected: Encoded) -> Encoded:
    """What is left of the projected patches of each view."""
    assert projected.evidence is not None and projected.selection is None, "one choice before the LLM"
    evidence = ViewEvidence(projected.features, projected.evidence)
    selection = method.at_projector(evidence)
    if selection is None:
        return Encoded(projected.features, None)
    return Encoded(selection.tokens(evidence.values), selection)


def choose_in_pictures(
    method: Reduction,
    tokens: torch.Tensor,
    lengths: list[int],
    order: torch.Tensor | None,
    projected: Encoded,
    trace: Trace | None,
    parts: Callable[[], torch.Tensor] | None = None,
) -> ImageTokens:
    """What is left of the tokens of whole pictures.

    Args:
        tokens: (total, D) of all pictures, one after the other; lengths: how many each has.
        order, parts: see `PictureEvidence`.
    """
    assert projected.evidence is not None and projected.selection is None, "one choice before the LLM"
    evidence = PictureEvidence(tokens, tuple(lengths), projected.evidence, order, parts)
    selection = method.at_projector(evidence)
    if trace is not None:
        trace.encoder, trace.order, trace.pooled = selection, order, selection is not None
    if selection is None:
        return ImageTokens(tokens, lengths)
    slots, counts = view_order(selection, [1] * len(lengths))
    left = selection.tokens(evidence.values).flatten(0, 1)
    left = left if slots is None else left[sent(slots, left.device)]
    return ImageTokens(left, counts, Places.of(selection, slots, lengths) if method.keeps_gaps else None)
