"""Logits that are no numbers: found on the device as tokens are chosen, and refused when the tokens are there.

float16 ends at 65504. Beyond it a model's logits become infinite or NaN, and any choice among them is an answer of
nothing. No token waits for the device: it is asked once, at the end.
"""

from typing import Any

import torch
from transformers import LogitsProcessor

from llava.constants import IMAGE_TOKEN_INDEX
from llava.errors import InputError
from llava.model.image_inputs import sort_images


class FiniteLogits(LogitsProcessor):
    """Lets a row whose scores are not finite end at once, so that the other rows go on; remembers which those are.

    Args:
        ends: end tokens; a bad row gets the first, or token 0 where there is none.
    """

    def __init__(self, ends: list[int]) -> None:
        self._token = ends[0] if ends else 0
        self._bad: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> Any:
        """(B, V) scores before sampling, of which processors may have set some to -inf."""
        bad = ~scores.amax(dim=-1).isfinite()
        self._bad = bad if self._bad is None or len(self._bad) != len(bad) else self._bad | bad
        ending = torch.full_like(scores[:1], -torch.inf)
        ending[:, self._token] = 0
        return torch.where(bad[:, None], ending, scores)

    def bad_rows(self, copies: int) -> list[int]:
        """Prompts of which any of the `copies` rows (beams, samples) had such scores."""
        if self._bad is None:
            return []
        return self._bad.view(-1, copies).any(dim=1).nonzero().flatten().tolist()


def refuse_nonfinite(rows: list[int], dtype: torch.dtype) -> None:
    """Say that answers would be of nothing.

    Args:
        rows: the prompts of a batch whose logits were not finite; none: all is well.
        dtype: what the model computes in.

    Raises:
        InputError: if there are any.
    """
    if not rows:
        return
    name = str(dtype).removeprefix("torch.")
    remedy = "look for NaN in the weights and the pictures"
    if dtype == torch.float16:
        remedy = "float16 overflows above 65504: load the model in bfloat16 or float32 (--dtype)"
    shown = ", ".join(map(str, rows[:10])) + (" and more" if len(rows) > 10 else "")
    raise InputError(f"a model's logits must be finite: got NaN or infinity in row {shown}, in {name}; {remedy}")


def rows_without_numbers(ids: torch.Tensor, images: Any) -> set[int]:
    """Prompts with a picture of which some pixel is NaN or infinite; asked only after something went wrong."""
    views = sort_images(ids.cpu(), images, None).views
    rows = (ids == IMAGE_TOKEN_INDEX).nonzero()[:, 0].tolist()
    return {row for row, view in zip(rows, views) if not bool(view.isfinite().all())}
