"""Keep patches drawn by lot in the vision encoder: what a ranking has to beat to be worth anything.

A control, from no paper; VisionDrop (arXiv 2506.22283) and the others are measured against it. The lot of a patch is a
hash of the seed, the view's pixels and the patch's number. So an image gets the same patches in any batch, on any
device and whatever dtype the model computes in; another image or another seed gets others.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from llava.errors import InputError
from llava.reduction.base import Evidence
from llava.reduction.selection import Selection
from llava.reduction.stages import at_most, keep_top
from llava.reduction.viewwise import Viewwise

# The golden ratio's odd multiplier of 64 bits, and the shifts and factors of splitmix64's finaliser, as signed numbers.
GOLDEN = -0x61C8864680B583EB
MIXING = ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15))
LOT_BITS = 24  # what a float32 holds exactly


@dataclass(frozen=True)
class RandomPatches(Viewwise):
    """Patches by lot, once, in the encoder; no [CLS], nothing merged."""

    keep: int = field(metadata={"help": "patches leaving the vision encoder, of each view, e.g. 32"})
    seed: int = field(default=0, metadata={"help": "another seed draws other patches", "shared": True})
    count_setting: ClassVar[str] = "keep"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.seed, int) or isinstance(self.seed, bool):
            raise InputError(f"seed must be a whole number: got {self.seed!r}; write it like 0")

    def at_encoder(self, evidence: Evidence) -> Selection:
        scores = lots(fingerprints(evidence.pixels), self.seed, evidence.valid.shape[1])
        return keep_top(evidence, scores, at_most(evidence, self.keep))


def fingerprints(pixels: torch.Tensor) -> torch.Tensor:
    """(I, 3, h, w) pixels -> (I,) int64, a number for each image's exact content.

    Whole-number arithmetic modulo 2^64: the order in which a device adds up does not matter.
    """
    bits = pixels.float().flatten(1).view(torch.int32).long()
    place = torch.arange(bits.shape[1], device=bits.device)
    return (bits * (place * GOLDEN | 1)).sum(dim=1)


def lots(fingerprint: torch.Tensor, seed: int, count: int) -> torch.Tensor:
    """(I,) int64 and a seed -> (I, count) float32, even in [0, 1)."""
    # Mixed in turns: a sum of the three would let one seed's lots be another's, moved along.
    image = mixed(fingerprint + mixed(fingerprint.new_full((), _wrapped(seed)) + GOLDEN))
    lot = mixed(image[:, None] + torch.arange(1, count + 1, device=fingerprint.device) * GOLDEN)
    return (lot & (2**LOT_BITS - 1)).float() / 2**LOT_BITS


def mixed(number: torch.Tensor) -> torch.Tensor:
    """int64 -> int64, one to one; bits that differ a little go in, bits that differ everywhere come out."""
    for shift, factor in MIXING:
        number = (number ^ _shifted(number, shift)) * factor
    return number ^ _shifted(number, 31)


def _shifted(number: torch.Tensor, shift: int) -> torch.Tensor:
    """A shift to the right that fills up with zeros; torch's fills up with the sign."""
    return (number >> shift) & (2 ** (64 - shift) - 1)


def _wrapped(seed: int) -> int:
    """Any whole number as one of 64 bits."""
    return (seed + 2**63) % 2**64 - 2**63
