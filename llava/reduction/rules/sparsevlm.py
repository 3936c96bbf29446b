"""Let chosen words of the question rank the image tokens, and fold the best of the others into a few (SparseVLM).

SparseVLM, arXiv 2410.04417 (ICML 2025); released as Gumpest/SparseVLMs. The words that rate are chosen once, from the
embeddings; at each stage the best tokens stay and of the others a good third is clustered by density peaks.
"""

import torch

from llava.reduction.rules.basics import choice, cut, places, ranked
from llava.reduction.sent import sent

RECYCLED = 0.3  # of the dropped tokens, the share that is clustered
TOKENS_A_CLUSTER = 10
NOISE = 1e-6
HEADS = 14  # that 2.0 listens to


@choice
def raters(
    image: torch.Tensor, text: torch.Tensor, image_valid: torch.Tensor, text_valid: torch.Tensor
) -> torch.Tensor:
    """The text tokens that image tokens turn to more than to the average text token.

    Args:
        image: (I, n, D), embeddings as they enter the LLM; text: (I, t, D), all that follows the image.

    Returns:
        (I, t) bool.
    """
    logits = (image.float() @ text.float().transpose(1, 2)).masked_fill(~text_valid[:, None], -torch.inf)
    shares = logits.softmax(dim=-1).masked_fill(~image_valid[..., None] | ~text_valid[:, None], 0)
    weight = shares.sum(dim=1) / image_valid.sum(dim=1, keepdim=True)
    mean = weight.sum(dim=1, keepdim=True) / text_valid.sum(dim=1, keepdim=True)
    above = (weight > mean) & text_valid
    # A lone token is not above its own mean; then all that there is rates.
    return torch.where(above.any(dim=1, keepdim=True), above, text_valid)


def rated(rows: torch.Tensor, rating: torch.Tensor) -> torch.Tensor:
    """Attention of all text rows to the image, (I, H, t, n), and who rates, (I, t) bool -> (I, n), their mean."""
    share = rating.float() / rating.sum(dim=1, keepdim=True).clamp(min=1)
    return (rows.mean(dim=1) * share[..., None]).sum(dim=1)


@choice
def best_heads(rows: torch.Tensor, products: torch.Tensor, rating: torch.Tensor) -> torch.Tensor:
    """SparseVLM 2.0: attention by what rotary embedding alone makes of it, in the heads that then look at most.

    Args:
        rows: (I, H, t, n), what the text gives to the image.
        products: (I, t, n), scaled products of rotated vectors of ones; rating: (I, t) bool, who rates.

    Returns:
        (I, 14, t, n), the attention divided by the products, of the 14 heads whose sum over raters is largest (all,
        where there are no more).
    """
    divided = torch.where(rows != 0, rows / products[:, None], 0)
    looking = (divided * rating[:, None, :, None]).sum(dim=(2, 3))
    heads = ranked(looking)[:, :HEADS]
    return divided.take_along_dim(heads[..., None, None], dim=1)


@choice
def ranks(rows: torch.Tensor, rating: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """SparseVLM 1.0: the numerical rank of the raters' attention, by torch's default tolerance.

    Attention of all text rows to the image, (I, H, t, n), who rates, (I, t) bool, and (I, n) bool -> (I,) int64.
    """
    matrix = rows.mean(dim=1).masked_fill(~rating[..., None], 0)
    values = torch.linalg.svdvals(matrix)
    widest = torch.maximum(rating.sum(dim=1), valid.sum(dim=1))[:, None]
    tolerance = widest * torch.finfo(values.dtype).eps * values.amax(dim=1, keepdim=True)
    return (values > tolerance).sum(dim=1)


def recycled_counts(dropped: int) -> tuple[int, int]:
    """How many of the dropped tokens are clustered, and into how many; nothing of nothing."""
    if not dropped:
        return 0, 0
    taken = int(RECYCLED * dropped) + 1
    return taken, taken // TOKENS_A_CLUSTER + 1


@choice
def kept_and_recycled(
    scores: torch.Tensor, counts: tuple[int, ...], lengths: tuple[int, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The best `counts[i]` of each image, ascending, and of the others the best third or so, by falling score.

    Of an image that is kept whole nothing is recycled. Returns two orders filled up with n.
    """
    length = scores.shape[1]
    best = ranked(scores, places(lengths, length, scores.device))
    taken = tuple(recycled_counts(n - kept)[0] for n, kept in zip(lengths, counts))
    first = sent(counts, scores.device)[:, None]
    at = first + torch.arange(max(taken), device=scores.device)
    others = best.gather(1, at.clamp(max=length - 1))
    return cut(best, counts, length).sort(dim=-1).values, cut(others, taken, length)


@choice
def density_peaks(
    tokens: torch.Tensor, lengths: tuple[int, ...], clusters: tuple[int, ...], seed: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Which cluster each token belongs to; the clusters in falling order of their centres' weight.

    Density is exp(-mean squared distance to the nearest tokens), as many as there are clusters and the token itself one
    of them; a centre is dense and far from any denser token.

    Args:
        tokens: (I, q, D), of which `lengths[i]` are real; clusters: how many of each image.
        seed: as published, uniform noise of up to 1e-6 on the densities; the released code draws it without a seed.
            Here images of equally many tokens get the same, whatever the batch. Two tokens that are each other's
            nearest have equal densities, and then the noise decides. None, mended: the earlier counts as denser.

    Returns:
        (I, q) int64, -1 where there is no token; and the centres, (I, max(clusters)) int64, filled up with q.
    """
    size, device = tokens.shape[1], tokens.device
    number = torch.arange(size, device=device)
    valid = places(lengths, size, device)
    wanted = sent(clusters, device)[:, None]
    apart = torch.cdist(tokens.float(), tokens.float(), compute_mode="donot_use_mm_for_euclid_dist")
    apart = (apart / tokens.shape[-1] ** 0.5).masked_fill(~valid[:, None], torch.inf)
    nearest = apart.sort(dim=-1).values.square().masked_fill(number >= wanted[..., None], 0).sum(dim=-1)
    density = (-nearest / wanted.clamp(min=1)).exp()
    if seed is not None:
        density = density + NOISE * sent(_noise(lengths, size, seed), device)
    denser = density[:, None] > density[..., None]
    if seed is None:
        denser |= (density[:, None] == density[..., None]) & (number < number[:, None])
    furthest = apart.masked_fill(~valid[..., None] | ~valid[:, None], -torch.inf).amax(dim=(1, 2))
    to_denser = apart.masked_fill(~denser, torch.inf).amin(dim=-1)
    to_denser = torch.where(to_denser.isinf(), furthest[:, None], to_denser)
    centres = cut(ranked(density * to_denser, valid)[:, : max(clusters)], clusters, size)
    to_centres = apart.gather(2, centres.clamp(max=size - 1)[:, None].expand(-1, size, -1))
    to_centres = to_centres.masked_fill((centres == size)[:, None], torch.inf)
    own = torch.full((len(centres), size + 1), -1, device=device)
    own = own.scatter(1, centres, torch.arange(max(clusters), device=device).expand_as(centres))[:, :size]
    return torch.where(own >= 0, own, to_centres.argmin(dim=-1)).masked_fill(~valid, -1), centres


def _noise(lengths: tuple[int, ...], size: int, seed: int) -> torch.Tensor:
    """(I, size) float32 in [0, 1), drawn on the CPU."""
    drawn = {length: torch.rand(length, generator=torch.Generator().manual_seed(seed)) for length in set(lengths)}
    return torch.stack([torch.nn.functional.pad(drawn[length], (0, size - length)) for length in lengths])


def cluster_means(tokens: torch.Tensor, assignment: torch.Tensor, clusters: int) -> torch.Tensor:
    """(I, q, D) and (I, q) cluster numbers, -1 for none -> (I, clusters, D), plain means; zero where there is none."""
    share = (assignment[..., None] == torch.arange(clusters, device=tokens.device)).float()
    share = share / (share.sum(dim=1, keepdim=True) + 1e-6)
    with torch.autocast(tokens.device.type, enabled=False):
        return (share.transpose(1, 2) @ tokens.float()).to(tokens.dtype)
