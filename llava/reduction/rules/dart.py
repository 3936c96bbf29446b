"""Keep a few pivots and the tokens that are least like them: duplicates go (DART).

DART, arXiv 2502.11494 (EMNLP 2025). Before an LLM layer, four image tokens and four tokens after the image are pivots,
those whose keys are largest; each pivot in turn takes the image tokens that resemble it least. Pivots among the text
make the choice depend on the question, mildly.
"""

import torch

from llava.reduction.rules.basics import ascending, choice, places, ranked, unit

PIVOTS = 4


def taken_per_pivot(budget: float) -> int:
    """Tokens each of the eight pivots takes, as released: 16 for 128, which then keeps 4 + 8 * 16 = 132."""
    return int(budget // (2 * PIVOTS))


@choice
def dart_kept(
    image: torch.Tensor,
    text: torch.Tensor,
    image_norms: torch.Tensor,
    text_norms: torch.Tensor,
    image_lengths: tuple[int, ...],
    text_lengths: tuple[int, ...],
    per_pivot: int,
    starts: tuple[int, ...] | None = None,
) -> tuple[torch.Tensor, tuple[int, ...]]:
    """Pivots and what they take, image tokens only. A loop over the eight pivots is inherent.

    Args:
        image: (I, n, D), the image tokens through the LLM's last norm; text: (I, t, D), those after the image.
        image_norms, text_norms: (I, n) and (I, t) float32, L1 norms of the keys of the layer before, all heads.
        per_pivot: image tokens that each pivot takes.
        starts: as published, pivots take turns in the order of a Python set of their places in the sequence, whose
            image begins at `starts[i]`; that order is read from the device. None, mended: image pivots by falling norm,
            then text pivots by falling norm.

    Returns:
        (I, max(counts)) int64, ascending, filled up with n; and the counts, 4 + 8 * per_pivot where there is enough.
    """
    length, device = image.shape[1], image.device
    image_valid, text_valid = places(image_lengths, length, device), places(text_lengths, text.shape[1], device)
    image_pivots = ranked(image_norms, image_valid)[:, :PIVOTS]
    pivots = torch.cat([image_pivots, length + ranked(text_norms, text_valid)[:, :PIVOTS]], dim=1)
    both = torch.cat([image_valid, text_valid], dim=1)
    if starts is not None:
        pivots = _as_sets(pivots, both, starts, length, image_lengths)
    chosen = _scattered(torch.zeros_like(image_valid), image_pivots, both.gather(1, image_pivots))
    directions = unit(image)
    of_pivots = torch.cat([directions, unit(text)], dim=1).take_along_dim(pivots[..., None], dim=1)
    likeness = directions @ of_pivots.transpose(1, 2)
    for turn in range(pivots.shape[1]):
        free = image_valid & ~chosen & both.gather(1, pivots[:, turn : turn + 1])
        least = ranked(-likeness[..., turn], free)[:, :per_pivot]
        chosen = _scattered(chosen, least, free.gather(1, least))
    counts = tuple(
        min(n, min(PIVOTS, n) + (min(PIVOTS, n) + min(PIVOTS, t)) * per_pivot)
        for n, t in zip(image_lengths, text_lengths)
    )
    kept = torch.arange(length, device=device).where(chosen, length)
    return ascending(kept)[:, : max(counts)], counts


def _scattered(flags: torch.Tensor, indices: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """Set the flags at those `indices` where `new` is True."""
    return flags | torch.zeros_like(flags).scatter(1, indices, new)


def _as_sets(
    pivots: torch.Tensor, valid: torch.Tensor, starts: tuple[int, ...], length: int, image_lengths: tuple[int, ...]
) -> torch.Tensor:
    """The pivots of each row in the order in which CPython goes through a set of their places in the sequence."""
    rows = []
    for row, real, start, own in zip(pivots.tolist(), valid.gather(1, pivots).tolist(), starts, image_lengths):
        place_of = {start + (at if at < length else own + at - length): at for at, here in zip(row, real) if here}
        in_turn = [place_of[place] for place in set(list(place_of))]  # as a set of a list grows
        rows.append(in_turn + [at for at, here in zip(row, real) if not here])
    return torch.tensor(rows, device=pivots.device)
