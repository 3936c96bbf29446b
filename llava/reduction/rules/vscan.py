"""Keep the best of every window by an early layer and the best of all by a late one; merge the others (VScan).

VScan, arXiv 2505.22654; released in Tencent/SelfEvolvingAgent, VScan/llava/model/llava_arch.py. This is its first
stage, in the encoder; the second ranks image tokens inside the LLM by the last prompt token, as PyramidDrop does.
Attention is that of [CLS], mean over heads, of encoder layer 5 (counted from 0) and of the layer whose output LLaVA
uses.
"""

import torch

from llava.reduction.rules.basics import ascending, choice, places, ranked, unit
from llava.reduction.selection import membership

WINDOWS_A_SIDE = 4
WINDOW = 4  # tokens along its side, in pictures of any size


@choice
def vscan_kept(early: torch.Tensor, late: torch.Tensor, count: int, side: int, published: bool = False) -> torch.Tensor:
    """Half of `count` by windows, the others by the late layer.

    The picture is 4 x 4 windows; each gives the (count // 2) // 16 tokens that the early layer looks at most.

    Args:
        early, late: (I, side^2) float32, attention of a full grid whose side is a multiple of 4.
        published: keep count - count // 2 by the late layer, so that fewer than `count` stay where count // 2 is no
            multiple of 16 (40 of 48). Mended: the late layer fills up.

    Returns:
        (I, kept) int64, ascending.
    """
    length, window = side * side, side // WINDOWS_A_SIDE
    number = torch.arange(length, device=early.device)
    shape = (WINDOWS_A_SIDE, window, WINDOWS_A_SIDE, window)
    places = number.view(shape).transpose(1, 2).reshape(WINDOWS_A_SIDE**2, window * window)
    each = count // 2 // WINDOWS_A_SIDE**2
    best = ranked(early[:, places].flatten(0, 1))[:, :each].view(len(early), WINDOWS_A_SIDE**2, each)
    local = places.expand(len(early), -1, -1).gather(-1, best).flatten(1)
    rest = count - count // 2 if published else count - local.shape[1]
    wide = ranked(late.masked_fill(membership(local, length), -torch.inf))[:, :rest]
    return ascending(torch.cat([local, wide], dim=1))


@choice
def vscan_kept_of_any_size(
    early: torch.Tensor, late: torch.Tensor, count: int, shape: tuple[int, int], published: bool = False
) -> torch.Tensor:
    """The same of pictures of any size, as in VScan for Qwen2.5-VL: a window is 4 x 4 tokens, smaller at the edges.

    Each window gives its share of count // 2, rounded up.

    Args:
        early, late: (I, rows * cols) float32, what each token receives.
        published: keep all that the windows give, so that more than `count` stay. Mended: the best count // 2 of them.

    Returns:
        (I, kept) int64, ascending.
    """
    rows, cols = shape
    wide = -(-cols // WINDOW)
    row, col = (torch.arange(edge, device=early.device) // WINDOW for edge in shape)
    window = (row[:, None] * wide + col).flatten()
    windows, half = -(-rows // WINDOW) * wide, count // 2
    order = ranked(early)
    seen = torch.nn.functional.one_hot(window[order], windows).cumsum(dim=1)  # of each window, down the ranking
    offered = seen.gather(-1, window[order][..., None])[..., 0] <= -(-half // windows)
    most = [
        min(WINDOW, rows - at) * min(WINDOW, cols - to)
        for at in range(0, rows, WINDOW)
        for to in range(0, cols, WINDOW)
    ]
    given = sum(min(size, -(-half // windows)) for size in most)  # the same of every picture of this shape
    local = order.gather(1, ranked(offered.float()))[:, : given if published else min(half, given)]
    rest = count - half if published else count - local.shape[1]
    whole = ranked(late.masked_fill(membership(local, early.shape[1]), -torch.inf))[:, :rest]
    return ascending(torch.cat([local, whole], dim=1))


def merge_into_kept(
    tokens: torch.Tensor, kept: torch.Tensor, counts: tuple[int, ...], valid: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each dropped token joins the kept one it is most like; a kept token becomes the mean of itself and those.

    Args:
        tokens: (I, n, D), in VScan those after the projector.
        kept: (I, k) int64, filled up with n; counts: how many of a row are real.

    Returns:
        (I, k, D), dtype of the tokens, zero behind an image's own; and (I, n) int64, the slot each token went into, -1
        where there is no token.
    """
    length, slots = tokens.shape[1], kept.shape[1]
    number, real = torch.arange(slots, device=kept.device), places(counts, slots, kept.device)
    with torch.no_grad(), torch.autocast(tokens.device.type, enabled=False):
        directions = unit(tokens)
        targets = directions.take_along_dim(kept.clamp(max=length - 1)[..., None], dim=1)
        likeness = (directions @ targets.transpose(1, 2)).masked_fill(~real[:, None], -torch.inf)
        own = torch.full((len(kept), length + 1), -1, device=kept.device)
        own = own.scatter(1, kept, number.expand_as(kept))[:, :length]
        assignment = torch.where(own >= 0, own, likeness.argmax(dim=-1)).masked_fill(~valid, -1)
        share = (assignment[..., None] == number).float()
    with torch.autocast(tokens.device.type, enabled=False):
        merged = share.transpose(1, 2) @ tokens.float().masked_fill(~valid[..., None], 0)
        return (merged / share.sum(dim=1).clamp(min=1)[..., None]).to(tokens.dtype), assignment
