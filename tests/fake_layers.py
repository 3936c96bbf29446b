"""Evidence made of random numbers about a layer inside the LLM: also of text, and of the layer before."""

from typing import Any, Self

import torch
from fakes import FakeEvidence

TEXT = (9, 6, 7)


class FakeLayer(FakeEvidence):
    """What a method inside the LLM may ask. `ran` and `entered` are made of other numbers, of the same tokens."""

    text: dict[str, torch.Tensor]
    text_lengths: tuple[int, ...]
    starts: tuple[int, ...]
    other: Self | None

    @classmethod
    def layer(
        cls,
        lengths: tuple[int, ...],
        seed: int = 0,
        initial_lengths: tuple[int, ...] | None = None,
        dtype: torch.dtype = torch.float32,
        text_seed: int | None = None,
        alone: bool = False,
    ) -> Self:
        """Images of these lengths in a decoder of four heads and two key heads.

        Args:
            text_seed: of what a question decides; unset: `seed`.
            alone: without a layer before.
        """
        made = cls.random(lengths, heads=4, dtype=dtype, seed=seed, initial_lengths=initial_lengths)
        generator = torch.Generator().manual_seed(1000 + (seed if text_seed is None else text_seed))
        words, longest = TEXT[: len(lengths)], max(TEXT[: len(lengths)])
        real = torch.arange(longest) < torch.tensor(words)[:, None]
        images, size = made.valid.shape

        def draw(*shape: int) -> torch.Tensor:
            return torch.randn(images, *shape, generator=generator)

        rows = (draw(4, longest, size) * 2).softmax(-1) * made.valid[:, None, None] * real[:, None, :, None]
        keys = torch.randn(images, 2, size, 4, generator=torch.Generator().manual_seed(2000 + seed))
        made.text_lengths, made.starts = words, (5, 3, 4)[: len(lengths)]
        made.text = {
            "valid": real, "values": draw(longest, 8).to(dtype), "keys": draw(2, longest, 4), "rows": rows,
            "products": draw(longest, size), "image keys": keys,
        }  # fmt: skip
        if text_seed is not None:
            made.last_rows = cls.random(lengths, heads=4, seed=text_seed).last_rows
        made.other = None if alone else cls.layer(lengths, seed + 50, initial_lengths, dtype, text_seed, alone=True)
        return made

    @property
    def ran(self) -> Self:
        assert self.other is not None, "of the layer before the last one nothing is known"
        return self.other

    @property
    def entered(self) -> Self:
        return self.ran

    @property
    def text_valid(self) -> torch.Tensor:
        return self.text["valid"]

    @property
    def text_values(self) -> torch.Tensor:
        return self.text["values"]

    def keys_by_head(self) -> torch.Tensor:
        return self.text["image keys"]

    def text_keys_by_head(self) -> torch.Tensor:
        return self.text["keys"]

    def attention_from_text(self) -> torch.Tensor:
        return self.text["rows"]

    def rotary_products_from_text(self) -> torch.Tensor:
        return self.text["products"]

    def through_last_norm(self, states: torch.Tensor) -> torch.Tensor:
        return states * 2

    def row(self, index: int) -> Self:
        """One image of the batch alone, without padding."""
        n, t = self.lengths[index], self.text_lengths[index]
        one: Any = super().row(index)
        part = {name: states[index : index + 1] for name, states in self.text.items()}
        one.text = {
            "valid": part["valid"][:, :t], "values": part["values"][:, :t], "keys": part["keys"][:, :, :t],
            "rows": part["rows"][:, :, :t, :n], "products": part["products"][:, :t, :n],
            "image keys": part["image keys"][:, :, :n],
        }  # fmt: skip
        one.text_lengths, one.starts = (t,), self.starts[index : index + 1]
        one.other = self.other.row(index) if self.other is not None else None
        return one
