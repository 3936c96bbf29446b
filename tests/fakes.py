"""Evidence made of random numbers, for tests of the science without a model."""

from dataclasses import dataclass
from typing import Self

import torch


@dataclass
class FakeEvidence:
    """What a method may ask about images of `lengths` tokens, the same numbers whenever it asks."""

    lengths: tuple[int, ...]
    initial_lengths: tuple[int, ...]
    largest_lengths: tuple[int, ...]
    valid: torch.Tensor
    has_cls: bool
    values: torch.Tensor
    key_rows: torch.Tensor
    cls_rows: torch.Tensor
    image_rows: torch.Tensor
    last_rows: torch.Tensor
    pixels: torch.Tensor

    def keys(self) -> torch.Tensor:
        return self.key_rows

    def attention_from_cls(self) -> torch.Tensor:
        assert self.has_cls, "asked for [CLS] where there is none"
        return self.cls_rows

    def attention_from_image(self) -> torch.Tensor:
        return self.image_rows

    def attention_from_last(self) -> torch.Tensor:
        return self.last_rows

    @classmethod
    def random(
        cls,
        lengths: tuple[int, ...],
        width: int = 8,
        heads: int = 2,
        has_cls: bool = False,
        dtype: torch.dtype = torch.float32,
        seed: int = 0,
        initial_lengths: tuple[int, ...] | None = None,
        largest_lengths: tuple[int, ...] | None = None,
    ) -> Self:
        """Images of these lengths, filled up at the end; rows and columns without a token hold zeros."""
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator)

        images, longest = len(lengths), max(lengths)
        valid = torch.arange(longest) < torch.tensor(lengths)[:, None]
        hidden = (
            (draw(images, heads, longest, longest) * 2).softmax(-1) * valid[:, None, None] * valid[:, None, :, None]
        )
        one_row = (draw(images, heads, 1, longest) * 2).softmax(-1) * valid[:, None, None]
        last_row = (draw(images, heads, 1, longest) * 2).softmax(-1) * valid[:, None, None]
        values, keys = draw(images, longest, width).to(dtype), draw(images, longest, width // 2).to(dtype)
        return cls(
            lengths, initial_lengths or lengths, largest_lengths or initial_lengths or lengths, valid, has_cls,
            values, keys, one_row, hidden, last_row,
            draw(images, 3, 4, 4),
        )  # fmt: skip

    def row(self, index: int) -> Self:
        """One image of the batch alone, without padding."""
        n = self.lengths[index]
        one = slice(index, index + 1)
        return type(self)(
            (n,),
            (self.initial_lengths[index],),
            (self.largest_lengths[index],),
            self.valid[one, :n],
            self.has_cls,
            self.values[one, :n],
            self.key_rows[one, :n],
            self.cls_rows[one, ..., :n],
            self.image_rows[one, :, :n, :n],
            self.last_rows[one, ..., :n],
            self.pixels[one],
        )
