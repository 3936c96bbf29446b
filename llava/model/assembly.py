"""From the features of views to the tokens of images where nothing was dropped: tiles, newlines, pooled frames.

The order is index arithmetic, done once for every form of image; features are moved by one gather. What is made of
several patches (a map that `anyres_max_N` shrinks, a pooled frame) is blended first and takes part in the gather.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from llava.merge_config import shrunk
from llava.model.forms import Form, Rules
from llava.reduction.encoder_evidence import NEWLINE
from llava.reduction.sent import sent
from llava.video_config import STRIDE, pooled_side


@dataclass(frozen=True)
class Blend:
    """Tokens of which each is made of several patches.

    Attributes:
        source: (m, h, w) int64, m maps of an image's patches, by their numbers.
        mode: `bilinear` to `size`, or the `average` or `max` of two by two, what is left over at the ends cut off.
        size: (h', w') of each map afterwards.
    """

    source: torch.Tensor
    mode: str
    size: tuple[int, int]

    def __call__(self, patches: torch.Tensor) -> torch.Tensor:
        """(n, D) patches of the image -> (m * h' * w', D), row by row."""
        maps = patches[sent(self.source, patches.device)].permute(0, 3, 1, 2)
        if self.mode == "bilinear":
            maps = functional.interpolate(maps, size=self.size, mode="bilinear", align_corners=False)
        else:
            maps = (functional.avg_pool2d if self.mode == "average" else functional.max_pool2d)(maps, STRIDE)
        return maps.permute(0, 2, 3, 1).flatten(0, 2)


@dataclass(frozen=True)
class Order:
    """The tokens of one image.

    Attributes:
        tokens: (n,) int64: a patch by its number among those of all views, one after the other; their number for the
            newline token; numbers beyond it for what `blend` gives.
        blend: what is made of several patches; None: nothing is.
    """

    tokens: torch.Tensor
    blend: Blend | None = None


@functools.lru_cache(maxsize=256)
def order_of(form: Form, rules: Rules) -> Order:
    """The tokens of an image of this form: the base view, then the tiles as one picture, row by row; or the frames."""
    if form.modality == "video":
        return _of_video(form.views, rules)
    count, (rows, cols) = form.views * rules.per_view, form.grid
    newline = torch.tensor([count])
    if rows * cols == 0:
        ends = rules.merge.unpad and form.modality == "image"
        return Order(torch.cat([torch.arange(count), newline]) if ends else torch.arange(count))
    base = torch.arange(0 if rules.merge.nobase else rules.per_view)
    tiles = torch.arange(rules.per_view, count).view(rows, cols, rules.side, rules.side).permute(0, 2, 1, 3)
    picture, blend = tiles.reshape(rows * rules.side, cols * rules.side), None
    if rules.merge.maxpool:
        blend = Blend(picture[None], "max", (picture.shape[0] // STRIDE, picture.shape[1] // STRIDE))
    elif rules.merge.unpad:
        picture = unpad_image(picture[None], form.size)[0]
        size = shrunk(picture.shape[0], picture.shape[1], rules.side, rules.most_tiles)
        blend = Blend(picture[None], "bilinear", size) if size != picture.shape else None
    if blend is not None:
        picture = count + 1 + torch.arange(blend.size[0] * blend.size[1]).view(blend.size)
    if rules.merge.unpad and not rules.merge.maxpool:
        picture = functional.pad(picture, (0, 1), value=count)
    return Order(torch.cat([base, picture.flatten()]), blend)


def parts_of(form: Form, rules: Rules) -> torch.Tensor:
    """(n,) int64, the part of the image that each token of `order_of` is of; see `ProjectedEvidence.parts`."""
    own, count = order_of(form, rules).tokens, form.views * rules.per_view
    if form.modality == "video":
        part = (own - count - 1) // pooled_side(rules.side, rules.pool) ** 2
    else:
        part = (own >= rules.per_view).long()
    return part.masked_fill(own == count, NEWLINE)


def _of_video(frames: int, rules: Rules) -> Order:
    """Pooled frames, one after the other, with newlines where the configuration wants them."""
    side, count = pooled_side(rules.side, rules.pool), frames * rules.side**2
    blend = Blend(torch.arange(count).view(frames, rules.side, rules.side), rules.pool, (side, side))
    pooled = count + 1 + torch.arange(frames * side * side)
    if not rules.merge.spatial:
        return Order(pooled, blend)
    if rules.newlines == "frame":
        return Order(functional.pad(pooled.view(frames, -1), (0, 1), value=count).flatten(), blend)
    if rules.newlines == "grid":
        return Order(functional.pad(pooled.view(-1, side), (0, 1), value=count).flatten(), blend)
    ends = rules.newlines == "one_token" and rules.merge.unpad
    return Order(torch.cat([pooled, torch.tensor([count])]) if ends else pooled, blend)


def unpad_image(tensor: torch.Tensor, original_size: Sequence[int]) -> torch.Tensor:
    """LLaVA's function: (C, h, w) -> (C, h', w'), without what lies around a picture of `original_size`.

    The same whole number of rows or columns is cut on both sides, so one of padding may remain.
    """
    height, width = tensor.shape[1:]
    image_width, image_height = original_size
    if image_width / image_height > width / height:
        cut = (height - int(image_height * (width / image_width))) // 2
        return tensor[:, cut : height - cut]
    cut = (width - int(image_width * (height / image_height))) // 2
    return tensor[:, :, cut : width - cut]


def unreduced_tokens(
    features: torch.Tensor, forms: Sequence[Form], rules: Rules, newline: torch.Tensor | None
) -> tuple[torch.Tensor, list[int], torch.Tensor]:
    """The tokens of several images.

    Args:
        features: (V, n, D), all n tokens of all views of all images, one after the other.
        newline: (D,), the newline token; None: the model has none.

    Returns:
        (total, D) tokens; the number of tokens of each image; and (total,) int64, on the CPU, the number of each
        token's patch among those of all views, their number for the newline token, or one beyond it for a blend.
    """
    assert features.shape[1] == rules.per_view, (features.shape, rules)
    flat = features.flatten(0, 1)
    first, beyond, newline_at = 0, len(flat) + 1, len(flat)
    pool, orders = [flat, flat.new_zeros(1, flat.shape[1]) if newline is None else newline[None].to(flat)], []
    for form in forms:
        own, count = order_of(form, rules), form.views * rules.per_view
        placed = torch.where(own.tokens > count, own.tokens - count - 1 + beyond, own.tokens + first)
        orders.append(placed.masked_fill(own.tokens == count, newline_at))
        if own.blend is not None:
            pool.append(own.blend(flat[first : first + count]))
            beyond += len(pool[-1])
        first += count
    order = torch.cat(orders)
    return torch.cat(pool)[sent(order, flat.device)], [len(own) for own in orders], order
