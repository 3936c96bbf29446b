"""Keep the patches [CLS] attends to, and of the others those that resemble no other patch (VisPruner).

VisPruner, arXiv 2412.01818v2 (ICCV 2025); released as Theia-4869/VisPruner. The others stand in a list by falling
attention. In each round those at even places (0, 2, ...) are compared with those at odd places, and of the even ones
the eight that resemble an odd one most are dropped. The next list is what is left of the even ones, by falling
resemblance, then the odd ones. So every rank decides who is compared with whom: two neighbours changing places
anywhere can change the whole choice, and rounding does that (relative noise of 1e-6 does on most images).
"""

import torch

from llava.reduction.rules.basics import ascending, choice, cosines, cut, places

DROPPED_A_ROUND = 8
BELOW_ANY = -2.0  # below any cosine


@choice
def important_and_diverse(
    features: torch.Tensor,
    attention: torch.Tensor,
    important: tuple[int, ...],
    diverse: tuple[int, ...],
    lengths: tuple[int, ...],
    published: bool = False,
) -> torch.Tensor:
    """`important[i]` patches by attention and `diverse[i]` of the others, by rounds of pairing.

    The rounds, (n - important - diverse) / 8 of them, are inherent; all images go through them together. A list of odd
    length has one more even place than odd ones, where the released code fails.

    Args:
        features: (I, n, D), the patches before the projector.
        attention: (I, n) float32, what [CLS] gives to each patch, over heads.
        lengths: patches of each image; important and diverse ones together are no more.
        published: leave the order of equal scores to torch's own sort, as released, where it is that of the processor;
            float32 has such ties. Mended: the earlier in the list is first.

    Returns:
        (I, max(important + diverse)) int64, ascending, filled up with n.
    """
    length = features.shape[1]
    valid = places(lengths, length, features.device)
    falling = attention.masked_fill(~valid, -torch.inf).sort(dim=-1, descending=True, stable=not published).indices
    order = cut(falling, lengths, length)
    resemblance = torch.nn.functional.pad(cosines(features, valid), (0, 1, 0, 1), value=BELOW_ANY)
    others = _without_first(order, important, lengths, length)
    left = tuple(count - first for count, first in zip(lengths, important))
    others = _paired_down(resemblance, others, left, diverse, not published)
    kept = torch.cat([cut(order, important, length), others], dim=1)
    return ascending(kept)[:, : max(map(sum, zip(important, diverse)))]


def dropped(left: int, wanted: int) -> int:
    """How many of a list of `left` a round drops: of the half at even places, and no more than there are too many."""
    return min(DROPPED_A_ROUND, left - wanted, (left + 1) // 2)


def odd_list(left: int, wanted: int) -> int | None:
    """The first odd length on the way from a list of `left` to one of `wanted`; None where every round pairs all."""
    while wanted and left > wanted:
        if left % 2:
            return left
        left -= dropped(left, wanted)
    return None


def _paired_down(
    resemblance: torch.Tensor, others: torch.Tensor, left: tuple[int, ...], wanted: tuple[int, ...], stable: bool
) -> torch.Tensor:
    """Rounds of pairing until `wanted[i]` of a list of `left[i]` are left.

    Args:
        resemblance: (I, n + 1, n + 1), cosines; those of the filling n are below any.
        others: (I, max(left)) int64, the lists, filled up with n.
    """
    images, filling = others.shape[0], resemblance.shape[-1] - 1
    flat = resemblance.flatten(1)
    while left != wanted:
        drop = tuple(dropped(count, goal) for count, goal in zip(left, wanted))
        even, odd = others[:, 0::2], others[:, 1::2]
        pairs = (even * (filling + 1))[..., None] + odd[:, None]
        closest = flat.gather(1, pairs.flatten(1)).view(images, even.shape[1], -1)
        # One patch alone has nobody to be compared with.
        score = closest.amax(dim=-1) if odd.shape[1] else closest.new_zeros(even.shape)
        if min(left) < max(left):
            score = score.masked_fill(even == filling, -torch.inf)
        even = even.gather(1, score.sort(dim=-1, descending=True, stable=stable).indices)
        others = _without_first(torch.cat([even, odd], dim=1), drop, left, filling)
        left = tuple(count - gone for count, gone in zip(left, drop))
    return others


def _without_first(rows: torch.Tensor, counts: tuple[int, ...], left: tuple[int, ...], filling: int) -> torch.Tensor:
    """Lists of `left[i]` without their first `counts[i]`: moved up, and the filling, wherever it was, at the end."""
    if len(set(zip(counts, left))) == 1:
        return rows[:, counts[0] :]
    rows = rows.masked_fill(places(counts, rows.shape[1], rows.device), filling)
    width = max(count - first for count, first in zip(left, counts))
    return rows.gather(1, (rows == filling).byte().sort(dim=1, stable=True).indices)[:, :width]
