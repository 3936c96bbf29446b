"""Text and image tokens into one batch of decoder inputs, padded on the left.

Positions are worked out on the host from the prompt ids; the device does one gather and is asked nothing.
"""

from dataclasses import dataclass

import torch

from llava.constants import IGNORE_INDEX, IMAGE_TOKEN_INDEX
from llava.errors import InputError
from llava.model.layout import Layout, Span


@dataclass(frozen=True)
class Plan:
    """Where every decoder input comes from.

    Attributes:
        source: (B, T) int64 on the CPU: number of a prompt position (row * L + column), B * L + number of an image
            token, or -1 for padding.
        layout: real tokens and image spans.
    """

    source: torch.Tensor
    layout: Layout

    @property
    def surplus(self) -> tuple[int, ...]:
        """Per row: image tokens minus the <image> tokens they stand for."""
        extra = [0] * len(self.layout.lengths)
        for span in self.layout.spans:
            extra[span.row] += span.length - 1
        return tuple(extra)


def plan_fusion(
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor | None,
    image_lengths: list[int],
    max_length: int | None = None,
) -> Plan:
    """Lay out prompts with their images.

    Args:
        input_ids: (B, L) int64 on the CPU; -200 stands for an image, in the order of `image_lengths`.
        attention_mask: (B, L), zero where a position is padding (on any side); None: none is.
        image_lengths: tokens of each image.
        max_length: rows are cut to this many tokens, as LLaVA does with `tokenizer_model_max_length`.

    Raises:
        InputError: when prompts and images do not match in number, or a row is empty.
    """
    batch, columns = input_ids.shape
    real = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
    is_image = (input_ids == IMAGE_TOKEN_INDEX) & real
    expected = int(is_image.sum())
    if expected != len(image_lengths):
        raise InputError(
            f"prompts and images must match: got {len(image_lengths)} images, expected {expected}, one per <image>; "
            f"add or remove images or <image> tokens"
        )
    repeats = real.long()
    repeats[is_image] = torch.tensor(image_lengths, dtype=torch.long)
    lengths = repeats.sum(dim=1)
    if int(lengths.min()) == 0:
        raise InputError(f"each prompt needs at least one token: got none in row {int(lengths.argmin())}; give it text")

    # One entry per decoder input, rows one after the other.
    origin = torch.repeat_interleave(torch.arange(batch * columns), repeats.flatten())
    from_image = is_image.flatten()[origin]
    origin = torch.where(from_image, batch * columns + from_image.cumsum(0) - 1, origin)
    row = torch.repeat_interleave(torch.arange(batch), lengths)
    place = torch.arange(len(origin)) - (lengths.cumsum(0) - lengths)[row]

    starts = (repeats.cumsum(dim=1) - repeats)[is_image].tolist()
    rows_of_images = is_image.nonzero()[:, 0].tolist()
    if max_length is not None:
        within = place < max_length
        origin, row, place = origin[within], row[within], place[within]
        lengths = lengths.clamp(max=max_length)
    spans = tuple(
        Span(row_of, start, length, length)
        for row_of, start, length in (
            (row_of, start, min(length, int(lengths[row_of]) - start))
            for row_of, start, length in zip(rows_of_images, starts, image_lengths)
        )
        if length > 0
    )
    layout = Layout(tuple(lengths.tolist()), spans)
    source = torch.full((batch, layout.width), -1)
    source[row, place + layout.width - lengths[row]] = origin
    return Plan(source, layout)


def fuse(text: torch.Tensor, images: torch.Tensor, plan: Plan) -> torch.Tensor:
    """Gather decoder inputs.

    Args:
        text: (B, L, D), embeddings of the prompt ids (anything at image positions).
        images: (total, D), the tokens of all images in order.

    Returns:
        (B, T, D), dtype and device of `text`; padding is zero.
    """
    pool = torch.cat([text.flatten(0, 1), images.to(text), text.new_zeros(1, text.shape[-1])])
    source = torch.where(plan.source < 0, len(pool) - 1, plan.source)
    return pool[source.to(text.device, non_blocking=True)]


def fuse_labels(labels: torch.Tensor, plan: Plan) -> torch.Tensor:
    """(B, L) labels -> (B, T) on their device; images and padding are ignored by the loss."""
    pool = torch.cat([labels.flatten(), labels.new_full((1,), IGNORE_INDEX)])
    inside = (plan.source >= 0) & (plan.source < labels.numel())
    return pool[torch.where(inside, plan.source, labels.numel()).to(labels.device)]
