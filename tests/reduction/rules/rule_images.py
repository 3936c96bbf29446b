"""Random images of different length, for tests of the rules."""

from typing import NamedTuple

import torch

LENGTHS = (40, 23, 31)
COUNTS = (12, 7, 9)


class Images(NamedTuple):
    """Seeded random numbers; places without a token hold large ones, so that a rule that reads them is caught."""

    tokens: torch.Tensor
    scores: torch.Tensor
    valid: torch.Tensor
    lengths: tuple[int, ...]


def draw(lengths: tuple[int, ...] = LENGTHS, width: int = 24, seed: int = 0) -> Images:
    """(I, n, width) tokens and (I, n) scores in [0, 1)."""
    generator = torch.Generator().manual_seed(seed)
    longest = max(lengths)
    valid = torch.arange(longest) < torch.tensor(lengths)[:, None]
    tokens = torch.randn(len(lengths), longest, width, generator=generator)
    scores = torch.rand(len(lengths), longest, generator=generator)
    return Images(tokens.masked_fill(~valid[..., None], 1e4), scores.masked_fill(~valid, 1e4), valid, lengths)


def alone(images: Images, row: int) -> Images:
    """One image without filling."""
    n = images.lengths[row]
    return Images(*(part[row : row + 1, :n] for part in images[:3]), (n,))
