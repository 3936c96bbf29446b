"""Embeddings of text tokens."""

import torch
from torch import nn

from llava.errors import InputError


class TextTable(nn.Embedding):
    """The table of token embeddings, which says so where it is asked about an image."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        try:
            return super().forward(input)
        except IndexError as error:  # of a CPU; asking a GPU would make every token wait
            raise InputError(
                f"token ids must lie between 0 and {self.num_embeddings - 1}: got {int(input.min())} to "
                f"{int(input.max())}; -200 stands for an image, which only forward and generate with images can place "
                f"(prompt tuning cannot)"
            ) from error
