"""What the rules start from and end with: float32 whatever the surroundings, cosines, orders cut to size."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from llava.reduction.sent import sent

Given = ParamSpec("Given")
Result = TypeVar("Result")


def choice(rule: Callable[Given, Result]) -> Callable[Given, Result]:
    """Run a rule that only chooses without gradients and without autocast, which would round its products.

    The device is that of the first tensor among the positional arguments.
    """

    @functools.wraps(rule)
    def run(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        device = next(given.device.type for given in args if isinstance(given, torch.Tensor))
        with torch.no_grad(), torch.autocast(device, enabled=False):
            return rule(*args, **kwargs)

    return run


def places(lengths: tuple[int, ...], length: int, device: torch.device) -> torch.Tensor:
    """(I, length) bool, True where an image of that many tokens has one."""
    return torch.arange(length, device=device) < sent(lengths, device)[:, None]


def unit(tokens: torch.Tensor) -> torch.Tensor:
    """(..., D), any floating dtype -> the same directions, length one, float32; zero vectors stay zero."""
    return torch.nn.functional.normalize(tokens.float(), dim=-1)


def cosines(tokens: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
    """Cosine of every pair of an image's tokens, zero where one of them is none.

    (I, n, D) and (I, n) bool -> (I, n, n) float32.
    """
    directions = unit(tokens)
    if valid is not None:
        directions = directions.masked_fill(~valid[..., None], 0)  # also what is no number
    return directions @ directions.transpose(1, 2)


def cut(order: torch.Tensor, counts: tuple[int, ...], length: int) -> torch.Tensor:
    """The first `counts[i]` of row i of an order of max(counts) columns or more; the others become `length`."""
    widest = max(counts)
    order = order[:, :widest]
    if min(counts) == widest:
        return order
    return order.masked_fill(~places(counts, widest, order.device), length)


def ascending(order: torch.Tensor) -> torch.Tensor:
    """An order as `Selection.kept` has it: the same indices, rising; the filling stays at the end."""
    return order.sort(dim=-1).values


def ranked(scores: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
    """(I, n) scores -> (I, n) int64, all indices by falling score, the earlier first on a tie, no tokens last."""
    if valid is not None:
        scores = scores.masked_fill(~valid, -torch.inf)
    return scores.sort(dim=-1, descending=True, stable=True).indices
