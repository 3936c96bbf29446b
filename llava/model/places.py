"""Where image tokens stand among all that their pictures had, for methods that leave gaps on entering the LLM.

A token is numbered by the tokens before it. Where a method keeps positions it stands further on, by the tokens that are
gone before it: how far is worked out here once, and is all that a decoder and its cache have to know.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from llava.model.fusion import Plan
from llava.reduction.selection import Selection
from llava.reduction.sent import sent


@dataclass(frozen=True)
class Places:
    """Of the tokens of images, one image's after the other's.

    Attributes:
        tokens: (total,) int64, for each token its number among those that its image had.
        rooms: for each image how many it had.
    """

    tokens: torch.Tensor
    rooms: tuple[int, ...]

    @classmethod
    def of(cls, selection: Selection, slots: torch.Tensor | None, rooms: Sequence[int]) -> "Places":
        """Of what was selected of each image.

        Args:
            slots: (total,) int64, on the CPU, what of the rows of `selection` is no filling; None: all of it.
        """
        kept = selection.kept.flatten()
        return cls(kept if slots is None else kept[sent(slots, kept.device)], tuple(rooms))

    def split(self, tokens: Sequence[int], images: Sequence[int]) -> list["Places"]:
        """Those of so many tokens and images each."""
        edges = [sum(images[:at]) for at in range(len(images) + 1)]
        pieces = zip(self.tokens.split(list(tokens)), edges, edges[1:])
        return [Places(piece.clone(), self.rooms[first:stop]) for piece, first, stop in pieces]

    @classmethod
    def joined(cls, several: Sequence["Places | None"]) -> "Places | None":
        """All of them, one after the other; None: they are counted."""
        known = [one for one in several if one is not None]
        if not known:
            return None
        assert len(known) == len(several), "images of one method"
        return cls(torch.cat([one.tokens for one in known]), sum((one.rooms for one in known), ()))


class ImageTokens(NamedTuple):
    """Images as they enter the LLM: tokens (total, D) of all, how many each has, and where they stand.

    `places` is None where they are counted 0, 1, 2, as nearly always.
    """

    features: torch.Tensor
    lengths: list[int]
    places: Places | None = None


def ahead_of(plan: Plan, places: Places, lengths: Sequence[int], prompt: int) -> torch.Tensor:
    """(B, T) int64: how much further on each decoder input stands than the tokens before it say.

    Args:
        plan: of images with gaps.
        lengths: tokens of each image.
        prompt: positions of the prompts, B * L, from which on `plan.source` numbers image tokens.
    """
    layout, device = plan.layout, places.tokens.device
    after_gaps = torch.zeros(plan.source.shape, dtype=torch.long)
    for span in layout.spans:
        end = layout.width - layout.lengths[span.row] + span.start + span.length
        after_gaps[span.row, end:] += span.gap
    number = torch.cat([torch.arange(length) for length in lengths])
    own = places.tokens - sent(number, device)
    from_image = plan.source >= prompt
    source = torch.where(from_image, plan.source - prompt, len(own))
    own = torch.cat([own, own.new_zeros(1)])[sent(source, device)]
    return own + sent(after_gaps, device)
