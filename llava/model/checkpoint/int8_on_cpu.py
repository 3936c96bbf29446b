"""8-bit matrices on a CPU: bitsandbytes' numbers, multiplied by torch's own products.

bitsandbytes multiplies them on a CPU as on a GPU, activations in 8 bits too, which is ten times slower there than
float32. Here the matrix alone is in 8 bits. It is read as it lies for a few rows in bfloat16, where reading is what a
new token waits for; for more rows, and in other dtypes, it is turned into numbers of that dtype piece by piece.
"""

from typing import Any

import bitsandbytes as bnb
import torch

FEW = 16  # rows up to which torch's product with 8-bit matrices is the faster one
PIECE = 2**24  # bytes of a piece; beyond 32 MiB the system hands out fresh pages for each


class Int8OnCpu(bnb.nn.Linear8bitLt):
    """A matrix that bitsandbytes has quantised, and that is saved as before.

    Args:
        held: what it takes the place of; its numbers are shared, not copied.

    Attributes:
        numbers: (n, k) int8.
        scale: (n,) float32, what the numbers of a row stand for; `coarse`: the same in bfloat16.
    """

    numbers: torch.Tensor
    scale: torch.Tensor
    coarse: torch.Tensor

    def __init__(self, held: bnb.nn.Linear8bitLt) -> None:
        super().__init__(
            held.in_features, held.out_features, held.bias is not None, held.state.has_fp16_weights,
            held.state.threshold, device="meta",
        )  # fmt: skip
        self.state, self.bias = held.state, held.bias
        self.weight = held.weight
        self.train(held.training)

    def __setattr__(self, name: str, value: Any) -> None:
        """Also follow a weight that is exchanged, as PEFT does where it merges an adapter."""
        super().__setattr__(name, value)
        if name == "weight" and getattr(value, "CB", None) is not None:
            self.register_buffer("numbers", value.CB, persistent=False)
            self.register_buffer("scale", value.SCB.float() / 127, persistent=False)
            self.register_buffer("coarse", self.scale.bfloat16(), persistent=False)  # inductor wants it ready made

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., k) -> (..., n), of x's dtype."""
        if x.device.type != "cpu" or (torch.is_grad_enabled() and x.requires_grad):
            return super().forward(x)  # only bitsandbytes knows the way back
        scale = self.coarse if x.dtype == torch.bfloat16 else self.scale
        made = product(x.reshape(-1, x.shape[-1]), self.numbers, scale)
        made = made if self.bias is None else made + self.bias.to(x.dtype)
        return made.view(*x.shape[:-1], self.out_features)


def product(x: torch.Tensor, numbers: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """x (T, k) times a matrix whose rows are `scale` (n,) times `numbers` (n, k) int8 -> (T, n).

    Whole numbers up to 127 are exact in 16 bits, so rows are scaled after they were multiplied; but not in float16,
    where what is not yet scaled may overflow.
    """
    if x.dtype == torch.bfloat16 and len(x) <= FEW:
        return torch._weight_int8pack_mm(x.contiguous(), numbers, scale)
    rows = max(1, PIECE // (numbers.shape[1] * x.element_size()))
    linear, pieces = torch.nn.functional.linear, numbers.split(rows)
    if x.dtype == torch.float16:
        scaled = [piece.to(x.dtype).mul_(own[:, None]) for piece, own in zip(pieces, scale.split(rows))]
        return torch.cat([linear(x, piece) for piece in scaled], dim=-1)
    return torch.cat([linear(x, piece.to(x.dtype)) for piece in pieces], dim=-1).mul_(scale)


def multiply_by_torch(model: Any) -> None:
    """Let torch multiply the 8-bit matrices of a model that lie on the CPU; those that move between devices stay."""
    for name, module in list(model.named_modules()):
        held = type(module) is bnb.nn.Linear8bitLt and module.weight.CB is not None
        if held and module.weight.device.type == "cpu" and not hasattr(module, "_hf_hook"):
            model.set_submodule(name, Int8OnCpu(module))
