"""From what image tokens receive to how text and image disagree, a layer at a time. No model, no file.

Three things the VisionDrop paper says of ranking by text inside the LLM: late tokens win whatever they show (causal),
text and image rank different tokens (semantic), and what is ranked high has no place in the picture (spatial).
"""

from dataclasses import dataclass

import torch

from llava.eval.misalignment.probe import Rows
from llava.reduction.selection import membership, select_top


@dataclass
class Layer:
    """Sums over pictures of one layer; means are what `as_record` gives.

    Attributes:
        pictures: how many were added.
        mass: of all that a text token looks at, the part that is image tokens.
        by_place: for who looks (`text`, `last`, `visual`), the share of what the image tokens get by their place in the
            row of tokens, in `bins` equal parts; each sums up to 1.
        overlap: of the top tokens by `last` (PyramidDrop's ranking) those that are top by `visual` (VisionDrop's) too.
        chance: what that overlap would be of rankings that know nothing of each other.
    """

    number: int
    bins: int
    pictures: int = 0
    mass: float = 0.0
    overlap: float = 0.0
    chance: float = 0.0
    by_place: dict[str, torch.Tensor] | None = None

    def add(self, rows: Rows, top: float) -> None:
        """Add the pictures of a batch. `top`: the share of its tokens that a picture's top is; one token at least."""
        self.pictures += len(rows.lengths)
        self.mass += rows.text.sum().item()
        if self.by_place is None:
            self.by_place = {name: torch.zeros(self.bins) for name in ("text", "last", "visual")}
        for name, places in self.by_place.items():
            places += by_place(getattr(rows, name), rows.lengths, self.bins).sum(dim=0)
        counts = tuple(max(1, round(top * length)) for length in rows.lengths)
        self.overlap += overlaps(rows.last, rows.visual, rows.lengths, counts).sum().item()
        self.chance += sum(count / length for count, length in zip(counts, rows.lengths))

    def as_record(self) -> dict[str, object]:
        """The means, for programs."""
        assert self.by_place is not None and self.pictures
        shares = {name: (places / self.pictures) for name, places in self.by_place.items()}
        middles = (torch.arange(self.bins) + 0.5) / self.bins
        return {
            "layer": self.number,
            "text_to_image_mass": self.mass / self.pictures,
            "share_by_place": {name: share.tolist() for name, share in shares.items()},
            "mean_place": {name: (share @ middles).item() for name, share in shares.items()},
            "last_quarter": {name: share[-(self.bins // 4) :].sum().item() for name, share in shares.items()},
            "overlap": self.overlap / self.pictures,
            "chance": self.chance / self.pictures,
        }


def by_place(scores: torch.Tensor, lengths: tuple[int, ...], bins: int) -> torch.Tensor:
    """What parts of an image's row of tokens get of all that it gets.

    A token at place p of n belongs to part p * bins // n. Where nothing is got every part has the same.

    Args:
        scores: (I, n), zero where there is no token.

    Returns:
        (I, bins), rows that sum up to 1.
    """
    places = torch.arange(scores.shape[1])[None] * bins // torch.tensor(lengths)[:, None]
    sums = torch.zeros(len(scores), bins).scatter_add(1, places.clamp(max=bins - 1), scores.float())
    whole = sums.sum(dim=1, keepdim=True)
    return torch.where(whole > 0, sums / whole.where(whole > 0, 1), 1 / bins)


def overlaps(one: torch.Tensor, other: torch.Tensor, lengths: tuple[int, ...], counts: tuple[int, ...]) -> torch.Tensor:
    """(I,): of the `counts[i]` highest of one ranking, the share that is among the highest of the other too."""
    there = torch.arange(one.shape[1]) < torch.tensor(lengths)[:, None]
    chosen = [
        membership(select_top(scores.masked_fill(~there, -torch.inf), counts), one.shape[1]) for scores in (one, other)
    ]
    return (chosen[0] & chosen[1]).sum(dim=1) / torch.tensor(counts)
