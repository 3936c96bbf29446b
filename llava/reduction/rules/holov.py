"""Share the budget out among runs of the picture, then keep the best-attended tokens of each (HoloV).

HoloV, arXiv 2510.02912 (NeurIPS 2025); released as obananas/HoloV, llava/model/utils.py. The tokens are cut into 16
runs of neighbours in reading order (the paper draws windows). A run's weight is its mean score, and a token's score is
its attention and, at a hundredth of that or so, how unevenly it resembles the rest of its run.
"""

import torch

from llava.reduction.rules.basics import choice
from llava.reduction.sent import sent

ATTENTION_SCALE = 1000.0
EPSILON = 1e-6


@choice
def holov_order(
    projected: torch.Tensor,
    attention: torch.Tensor,
    counts: tuple[int, ...],
    lengths: tuple[int, ...],
    runs: int = 16,
    alpha: float = 0.09,
    published: bool = False,
) -> torch.Tensor:
    """Keep `counts[i]` tokens of image i, no more than it has.

    Args:
        projected: (I, n, D), the tokens as the LLM gets them.
        attention: (I, n) float32, what [CLS] gives to each patch, mean over heads.
        published: a run that is given more places than it has tokens wastes them (the released code fills up with
            vectors of zeros), and a run's tokens come by falling attention. Mended: such places go to the other runs
            in proportion to their weights, and the order is that of the picture.

    Returns:
        (I, max(counts)) order. As published the filling n also stands for vectors of zeros, at the end.
    """
    length = projected.shape[1]
    places, sizes = run_places(lengths, runs, projected.device)
    given = quotas(run_weights(projected, attention, places, sizes, alpha), sizes, counts, published)
    by_run = torch.nn.functional.pad(attention, (0, 1), value=-torch.inf)
    best = by_run.gather(1, places.flatten(1)).view_as(places).sort(dim=-1, descending=True, stable=True).indices
    whole = (given >= sizes)[..., None]
    number = torch.arange(places.shape[-1], device=places.device).expand_as(places)
    chosen = places.gather(-1, torch.where(whole, number, best))
    chosen = chosen.masked_fill(number >= given[..., None], length).flatten(1)
    # Run after run, the filling of each run moved behind the last.
    packed = chosen.gather(1, (chosen == length).byte().sort(dim=1, stable=True).indices)[:, : max(counts)]
    return packed if published else packed.sort(dim=1).values


def run_places(lengths: tuple[int, ...], runs: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Consecutive runs of tokens; of `length` tokens the first length mod `runs` runs get one more than the others.

    Returns:
        (I, runs, m) int64, the tokens of each run, filled up with max(lengths); and (I, runs) int64, how many.
    """
    number = torch.arange(runs, device=device)
    totals = sent(lengths, device)[:, None]
    sizes = totals // runs + (number < totals % runs)
    within = torch.arange(-(-max(lengths) // runs), device=device)
    places = (sizes.cumsum(dim=1) - sizes)[..., None] + within
    return places.masked_fill(within >= sizes[..., None], max(lengths)), sizes


def run_weights(
    projected: torch.Tensor, attention: torch.Tensor, places: torch.Tensor, sizes: torch.Tensor, alpha: float
) -> torch.Tensor:
    """(I, runs) float32, each run's mean score as a share of all."""
    images, runs, widest = places.shape
    there, count, others = places < projected.shape[1], sizes[..., None], (sizes[..., None] - 1).clamp(min=1)
    at = places.clamp(max=projected.shape[1] - 1).flatten(1)
    tokens = projected.float().take_along_dim(at[..., None], dim=1).view(images, runs, widest, -1)
    tokens = (tokens / (tokens.norm(dim=-1, keepdim=True) + EPSILON)).masked_fill(~there[..., None], 0)
    alike = tokens @ tokens.transpose(-1, -2)
    alike = alike.masked_fill(torch.eye(widest, dtype=torch.bool, device=alike.device), 0)
    mean = alike.sum(dim=-1) / others
    # Over all tokens of the run, the zero of the diagonal among them.
    uneven = ((alike - mean[..., None]) ** 2 * there[..., None, :]).sum(dim=-1) / others
    uneven = uneven.masked_fill(~there, 0)
    attended = ATTENTION_SCALE * attention.gather(1, at).view_as(places).masked_fill(~there, 0)
    scale = _mean(attended.abs(), count) / (_mean(uneven.abs(), count) + EPSILON)
    weights = _mean(attended + alpha * uneven * scale, count)[..., 0]
    return weights / (weights.sum(dim=-1, keepdim=True) + EPSILON)


def _mean(values: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """(I, runs, m), zero where there is no token, and (I, runs, 1) -> (I, runs, 1)."""
    return values.sum(dim=-1, keepdim=True) / count.clamp(min=1)


def quotas(weights: torch.Tensor, sizes: torch.Tensor, counts: tuple[int, ...], published: bool) -> torch.Tensor:
    """How many of its tokens each run keeps.

    `counts[i]` in proportion to the weights, rounded down; what is left over goes, one each, to the heaviest runs.

    Args:
        weights: (I, runs) float32, sizes: (I, runs) int64, tokens of each run.

    Returns:
        (I, runs) int64, no more than the run has; they add up to `counts[i]`, or as published to less.
    """
    total = sent(counts, weights.device)[:, None]
    every = torch.ones_like(sizes, dtype=torch.bool)
    given = _rounded(weights * total, weights, total, every)
    if published:
        return given.minimum(sizes)
    # The heaviest runs for their size are full first; what they cannot take is shared by the others.
    ratio = sizes / weights.clamp(min=torch.finfo(weights.dtype).tiny)
    order = ratio.sort(dim=-1, stable=True).indices
    size, weight = sizes.gather(1, order), weights.gather(1, order)
    left = total - (size.cumsum(dim=1) - size)
    heavier = weight.flip(1).cumsum(dim=1).flip(1).clamp(min=torch.finfo(weight.dtype).tiny)
    share = left / heavier * weight
    full = (share >= size).long().cumprod(dim=1).bool()
    fulls = full.sum(dim=1, keepdim=True)
    level = (left / heavier).gather(1, fulls.clamp(max=full.shape[1] - 1))
    shares = torch.where(full, size.to(weight.dtype), level * weight)
    mended = torch.empty_like(given).scatter(1, order, _rounded(shares, weight, total, ~full))
    overflows = (given > sizes).any(dim=1, keepdim=True)
    return torch.where(overflows, mended, given)


def _rounded(shares: torch.Tensor, weights: torch.Tensor, total: torch.Tensor, open_: torch.Tensor) -> torch.Tensor:
    """Shares rounded down; what is missing of `total` goes, one each, to the heaviest of the runs that are `open_`."""
    floor = shares.floor().long()
    missing = total - floor.sum(dim=1, keepdim=True)
    heaviest = weights.masked_fill(~open_, -torch.inf).sort(dim=1, descending=True, stable=True).indices
    place = torch.empty_like(heaviest).scatter(
        1, heaviest, torch.arange(heaviest.shape[1], device=heaviest.device).expand_as(heaviest)
    )
    return floor + (place < missing)
