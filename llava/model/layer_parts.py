"""Asking a layer's own norm and projections again, for what a choice is made from."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from transformers.models.llama.modeling_llama import rotate_half

from llava.reduction.precision import without_autocast


def only_looked_at(compute: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """For what a choice is made from: no gradient passes through it, and autocast does not reach it.

    So the same hidden states lead to the same choice inside autocast and outside.
    """

    @functools.wraps(compute)
    def method(self: Any) -> torch.Tensor:
        with torch.no_grad(), without_autocast(self.valid.device):
            return compute(self)

    return method


def own_weight(module: Any) -> torch.Tensor:
    """A module's weight, for its dtype and device alone.

    Asked for by its name outside of the module's call, DeepSpeed's ZeRO-3 would gather the weight there and then, and
    again before every later step.
    """
    known = module.parameters() if isinstance(module, torch.nn.Module) else iter(())
    found: torch.Tensor | None = next(known, None)
    return module.weight if found is None else found


def normed(norm: Any, states: torch.Tensor) -> torch.Tensor:
    """A layer's norm of hidden states; under autocast these may be wider than the weights, which is undone."""
    return norm(states.to(own_weight(norm).dtype))


def projected(projection: Any, states: torch.Tensor) -> torch.Tensor:
    """A layer's projection in the dtype of its weights; quantised weights convert by themselves."""
    weight = own_weight(projection)
    return projection(as_rows(states.to(weight.dtype) if weight.is_floating_point() else states))


def as_rows(states: torch.Tensor) -> torch.Tensor:
    """(..., D), lying as the rows of one matrix, copied where they did not.

    A linear layer takes those in one product. One that does not learn takes others (a row of each prompt, patches
    without [CLS]) one block after the other, for which torch copies its whole matrix in 16 bits on a CPU.
    """
    return states.reshape(-1, states.shape[-1]).contiguous().view(states.shape)


def split_heads(projected: torch.Tensor, width: int) -> torch.Tensor:
    """(I, T, heads * d) -> (I, heads, T, d)."""
    return projected.unflatten(-1, (-1, width)).transpose(1, 2)


def rotated(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """RoPE of (I, heads, T, d) by tables of shape (I or 1, T, d)."""
    return states * cos[:, None] + rotate_half(states) * sin[:, None]
