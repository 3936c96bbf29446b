"""Keep a few pivots and the tokens that are least like them: duplicates go (DART).

DART, arXiv 2502.11494 (EMNLP 2025). Before an LLM layer, four image tokens and four tokens after the image are pivots,
those whose keys are largest; each pivot in turn takes the image tokens that resemble it least. Pivots among the text
make the choice depend on the question, mildly.
"""

import torch

from llava.reduction.rules.basics import ascending, choice, places, ranked, unit
from llava.reduction.sent import sent

PIVOTS = 4
Shares = tuple[tuple[int, ...], ...]  # of each image, what its pivots take in their turns


def taken_per_pivot(budget: float, pivots: int = 2 * PIVOTS) -> int:
    """Tokens each pivot takes, as released: 16 for 128, of which 4 + 8 * 16 = 132 are then kept."""
    return int(budget // pivots)


def even_shares(budget: int, image_pivots: int, pivots: int) -> tuple[int, ...]:
    """What each of `pivots` takes so that `budget` tokens stay, the image's own pivots among them: 16, 16, 15 ..."""
    rest = max(0, budget - image_pivots)
    return tuple(rest // pivots + (turn < rest % pivots) for turn in range(pivots))


@choice
def dart_kept(
    image: torch.Tensor,
    text: torch.Tensor,
    image_norms: torch.Tensor,
    text_norms: torch.Tensor,
    image_lengths: tuple[int, ...],
    text_lengths: tuple[int, ...],
    per_pivot: int | Shares,
    starts: tuple[int, ...] | None = None,
    image_pivots: int | tuple[int, ...] = PIVOTS,
    text_pivots: int = PIVOTS,
) -> tuple[torch.Tensor, tuple[int, ...]]:
    """Pivots and what they take, image tokens only. A loop over the pivots is inherent.

    Args:
        image: (I, n, D), the image tokens through the LLM's last norm; text: (I, t, D), those after the image.
        image_norms, text_norms: (I, n) and (I, t) float32, L1 norms of the keys of the layer before, all heads.
        per_pivot: image tokens that each pivot takes: one number, or for each image one for each of its turns.
        starts: as published, pivots take turns in the order of a Python set of their places in the sequence, whose
            image begins at `starts[i]`; that order is read from the device. None, mended: image pivots by falling norm,
            then text pivots by falling norm.
        image_pivots, text_pivots: how many pivots there are, at the most; the former for all images or for each.

    Returns:
        (I, max(counts)) int64, ascending, filled up with n; and the counts, 4 + 8 * per_pivot where there is enough.
    """
    length, device = image.shape[1], image.device
    wanted = (image_pivots,) * len(image_lengths) if isinstance(image_pivots, int) else image_pivots
    first = tuple(map(min, wanted, image_lengths))
    second = tuple(min(text_pivots, t) for t in text_lengths)
    if isinstance(per_pivot, int):
        per_pivot = tuple((per_pivot,) * (one + other) for one, other in zip(first, second))
    image_valid = places(image_lengths, length, device)
    by_norm = ranked(image_norms, image_valid)
    text_by_norm = ranked(text_norms, places(text_lengths, text.shape[1], device))
    # Every row's pivots stand in front, in turn; behind them is filling.
    turns = [[*range(one), *(length + at for at in range(other))] for one, other in zip(first, second)]
    most = max(map(len, turns))
    order = torch.cat([by_norm, length + text_by_norm], dim=1)
    table = sent([row + [0] * (most - len(row)) for row in turns], device)
    pivots = order.gather(1, table)
    if starts is not None:
        pivots = _as_sets(pivots, tuple(map(len, turns)), starts, length, image_lengths)
    own = by_norm[:, : max(first)]
    chosen = _scattered(torch.zeros_like(image_valid), own, places(first, own.shape[1], device))
    directions = unit(image)
    of_pivots = torch.cat([directions, unit(text)], dim=1).take_along_dim(pivots[..., None], dim=1)
    likeness = directions @ of_pivots.transpose(1, 2)
    shares = sent([[*row[:most], *[0] * (most - len(row))] for row in per_pivot], device)
    for turn in range(most):
        free = image_valid & ~chosen
        widest = max((row[turn] for row in per_pivot if turn < len(row)), default=0)
        least = ranked(-likeness[..., turn], free)[:, :widest]
        taken = free.gather(1, least) & (torch.arange(least.shape[1], device=device) < shares[:, turn : turn + 1])
        chosen = _scattered(chosen, least, taken)
    counts = tuple(min(n, one + sum(row)) for n, one, row in zip(image_lengths, first, per_pivot))
    kept = torch.arange(length, device=device).where(chosen, length)
    return ascending(kept)[:, : max(counts)], counts


def _scattered(flags: torch.Tensor, indices: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """Set the flags at those `indices` where `new` is True."""
    return flags | torch.zeros_like(flags).scatter(1, indices, new)


def _as_sets(
    pivots: torch.Tensor, counts: tuple[int, ...], starts: tuple[int, ...], length: int, image_lengths: tuple[int, ...]
) -> torch.Tensor:
    """The `counts[i]` pivots of each row in the order in which CPython goes through a set of their places."""
    rows = []
    for row, count, start, own in zip(pivots.tolist(), counts, starts, image_lengths):
        place_of = {start + (at if at < length else own + at - length): at for at in row[:count]}
        in_turn = [place_of[place] for place in set(list(place_of))]  # as a set of a list grows
        rows.append(in_turn + row[count:])
    return sent(rows, pivots.device)
