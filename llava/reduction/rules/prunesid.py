"""Sort patches into groups by their main components, and thin out each group (PruneSID).

PruneSID, arXiv 2603.09480 (ICLR 2026); released as ZhengyaoFang/PruneSID, prunesid_llava/clip_encoder.py. A patch's
group is the principal direction it weighs most in. Within a group a patch is redundant that resembles a better one; a
group's budget follows the number of those that are not.
"""

import torch

from llava.reduction.rules.basics import choice, cosines, ranked
from llava.reduction.sent import sent

POWER_STEPS = 2


def groups_of(count: int) -> int:
    """How many groups there are for `count` tokens, as released."""
    return max(1, count // 4)


@choice
def component_groups(hidden: torch.Tensor, groups: int, seed: int | None = 0) -> torch.Tensor:
    """The principal direction each patch weighs most in, of the patches' sigmoids seen as n variables.

    Args:
        hidden: (I, n, D), the patches before the projector.
        groups: directions; `groups_of` the tokens kept.
        seed: of the random start of a randomised decomposition, the one `torch.pca_lowrank` does. The released code
            sets none, so that no two of its runs agree; here the start is drawn on the CPU, the same for every image.
            None: an exact decomposition, which gives other groups.

    Returns:
        (I, n) int64, below `groups`.
    """
    matrix = hidden.float().sigmoid().transpose(1, 2)
    matrix = matrix - matrix.mean(dim=1, keepdim=True)
    if seed is None:
        return torch.linalg.svd(matrix, full_matrices=False).Vh[:, :groups].abs().argmax(dim=1)
    features, patches = matrix.shape[1:]
    # The range of the taller form is found: a product with random vectors, made sharper by powers of the matrix.
    tall = matrix if features >= patches else matrix.transpose(1, 2)
    start = sent(torch.randn(tall.shape[-1], groups, generator=torch.Generator().manual_seed(seed)), matrix.device)
    basis = torch.linalg.qr(tall @ start).Q
    for _ in range(POWER_STEPS):
        basis = torch.linalg.qr(tall @ torch.linalg.qr(tall.transpose(1, 2) @ basis).Q).Q
    small = torch.linalg.svd(basis.transpose(1, 2) @ tall, full_matrices=False)
    weights = small.Vh if features >= patches else (basis @ small.U).transpose(1, 2)
    return weights.abs().argmax(dim=1)


@choice
def prunesid_order(hidden: torch.Tensor, scores: torch.Tensor, groups: torch.Tensor, count: int) -> torch.Tensor:
    """`count` - 1 patches, group after group; in a group first those that no better one makes redundant.

    The search for redundant patches is a loop over the n ranks, for all groups and images at once.

    Args:
        hidden: (I, n, D), the patches before the projector.
        scores: (I, n) float32, what [CLS] gives to each patch, heads added up.
        groups: (I, n) int64, below `groups_of(count)`, from `component_groups`.
        count: tokens kept, of which [CLS], which goes before the patches, is one.

    Returns:
        (I, count - 1) order.
    """
    length = scores.shape[1]
    place = torch.arange(length, device=scores.device)
    order = ranked(scores)
    group = groups.gather(1, order)
    redundant = _redundant(cosines(hidden.take_along_dim(order[..., None], dim=1)), group, count / 32)
    none = group.new_zeros(len(group), groups_of(count))
    sizes = none.scatter_add(1, group, torch.ones_like(group))
    winners = none.scatter_add(1, group, (~redundant).long())
    budgets = group_budgets(sizes, winners, count, length)
    by_group = ((group * 2 + redundant) * length + place).sort(dim=1).indices
    group = group.gather(1, by_group)
    place = place - (sizes.cumsum(dim=1) - sizes).gather(1, group)
    kept_first = (place >= budgets.gather(1, group)).byte().sort(dim=1, stable=True).indices
    return order.gather(1, by_group.gather(1, kept_first[:, : count - 1]))


def _redundant(alike: torch.Tensor, group: torch.Tensor, strictness: float) -> torch.Tensor:
    """(I, n, n) cosines and (I, n) groups, by falling score -> (I, n) bool, True where a better patch is too similar.

    Too similar is above `strictness` times the mean of all pairs; a redundant patch makes no other one redundant.
    """
    length = alike.shape[1]
    above = torch.ones(length, length, dtype=torch.bool, device=alike.device).triu(1)
    threshold = strictness * alike.masked_fill(~above, 0).sum(dim=(1, 2)) / (length * (length - 1) / 2)
    too_similar = (alike > threshold[:, None, None]) & (group[..., None] == group[:, None]) & above
    redundant = torch.zeros_like(group, dtype=torch.bool)
    for rank in range(length - 1):
        redundant |= too_similar[:, rank] & ~redundant[:, rank, None]
    return redundant


def group_budgets(sizes: torch.Tensor, winners: torch.Tensor, count: int, length: int) -> torch.Tensor:
    """How many patches each group keeps, `count` - 1 in all.

    One each, the rest in proportion to the winners, no more than a ceiling; what ceilings cut off goes to the groups of
    most winners.

    Args:
        sizes, winners: (I, G) int64, patches of each group and those not redundant.
        length: n, patches of an image.
    """
    lowest = sizes.clamp(max=1)
    ceiling = winners.clamp(max=5 * -(-count // 64)).minimum(sizes)
    # Where all ceilings together are too low, all rise by the same number.
    risen = ceiling[:, None] + torch.arange(length + 1, device=sizes.device)[:, None]
    risen = risen.minimum(sizes[:, None])
    enough = (risen.sum(dim=-1) >= count).byte().argmax(dim=1)
    ceiling = risen.take_along_dim(enough[:, None, None], dim=1)[:, 0]
    others = count - 1 - lowest.sum(dim=1, keepdim=True)
    shares = (winners.cumsum(dim=1) * others / winners.sum(dim=1, keepdim=True)).round().long()
    given = (lowest + shares.diff(dim=1, prepend=torch.zeros_like(shares[:, :1]))).minimum(ceiling)
    order = winners.sort(dim=1, descending=True, stable=True).indices
    room = (ceiling - given).gather(1, order)
    missing = count - 1 - given.sum(dim=1, keepdim=True)
    more = (missing - (room.cumsum(dim=1) - room)).clamp(min=0).minimum(room)
    return given.scatter_add(1, order, more)
