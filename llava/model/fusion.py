"""Text and image tokens into one batch of decoder inputs, padded on the left.

Positions are worked out on the host from the prompt ids; the device does one gather and is asked nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from llava.constants import IGNORE_INDEX, IMAGE_TOKEN_INDEX
from llava.errors import InputError
from llava.model.context import Cut
from llava.model.image_inputs import images_per_row, mismatch
from llava.model.layout import Layout, Span
from llava.reduction.sent import sent


@dataclass(frozen=True)
class Plan:
    """Where every decoder input comes from.

    Attributes:
        source: (B, T) int64 on the CPU: number of a prompt position (row * L + column), B * L + number of an image
            token, or -1 for padding.
        layout: real tokens and image spans.
        cut: what was cut off at the most tokens a row may have; None: nothing.
        ahead: (B, T) int64, see `llava.model.places.ahead_of`; None: every token stands where it is counted.
    """

    source: torch.Tensor
    layout: Layout
    cut: Cut | None = None
    ahead: torch.Tensor | None = None

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
    largest: Sequence[int] = (),
    rooms: Sequence[int] = (),
) -> Plan:
    """Lay out prompts with their images.

    Args:
        input_ids: (B, L) int64 on the CPU; -200 stands for an image, in the order of `image_lengths`.
        attention_mask: (B, L), zero where a position is padding (on any side); None: none is.
        image_lengths: tokens of each image.
        max_length: rows are cut to this many tokens, as LLaVA does with `tokenizer_model_max_length`.
        largest: for each image, tokens of the largest there may be, 0 where that is not known; empty: nowhere.
        rooms: for each image, the positions it takes; empty: one for each token.

    Raises:
        InputError: when prompts and images do not match in number, an id is none, or a row is empty.
    """
    real = real_tokens(input_ids, attention_mask)
    batch, columns = input_ids.shape
    is_image = (input_ids == IMAGE_TOKEN_INDEX) & real
    if int(is_image.sum()) != len(image_lengths):
        raise mismatch(len(image_lengths), images_per_row(input_ids, attention_mask))
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
    cut = None
    if max_length is not None and int(lengths.max()) > max_length:
        ends = {of: start + length for of, start, length in zip(rows_of_images, starts, image_lengths)}
        question_lost = any(max_length <= end < int(lengths[of]) for of, end in ends.items())
        cut = Cut(int(lengths.max()), max_length, question_lost)
        within = place < max_length
        origin, row, place = origin[within], row[within], place[within]
        lengths = lengths.clamp(max=max_length)
    spans = tuple(
        Span(row_of, start, length, length, most, gap)
        for row_of, start, length, most, gap in (
            (row_of, start, min(length, int(lengths[row_of]) - start), most, room - length)
            for row_of, start, length, most, room in zip(
                rows_of_images,
                starts,
                image_lengths,
                largest or (0,) * len(starts),
                rooms or image_lengths,
                strict=True,
            )
        )
        if length > 0
    )
    layout = Layout(tuple(lengths.tolist()), spans)
    source = torch.full((batch, layout.width), -1)
    source[row, place + layout.width - lengths[row]] = origin
    return Plan(source, layout, cut)


def real_tokens(input_ids: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
    """(B, L) bool, False at padding; InputError for a mask of another shape or ids that stand for nothing."""
    if input_ids.ndim != 2:
        raise InputError(
            f"input_ids must be (prompts, tokens): got {tuple(input_ids.shape)}; write input_ids[None] for one prompt"
        )
    if attention_mask is not None and attention_mask.shape != input_ids.shape:
        raise InputError(
            f"attention_mask must have the shape of input_ids: got {tuple(attention_mask.shape)}, expected "
            f"{tuple(input_ids.shape)}; make it with the ids, or leave it out where nothing is padded"
        )
    real = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
    foreign = input_ids[real & (input_ids < 0) & (input_ids != IMAGE_TOKEN_INDEX)]
    if len(foreign):
        raise InputError(
            f"ids of a prompt must be tokens, or {IMAGE_TOKEN_INDEX} where an image goes: got {int(foreign[0])}; mask "
            f"padding by attention_mask, and make ids with llava.mm_utils.tokenizer_image_token"
        )
    return real


def check_vocabulary(input_ids: torch.Tensor, tokens: int) -> None:
    """Refuse ids (on the CPU) that a vocabulary of so many tokens does not have."""
    largest = int(input_ids.max())
    if largest >= tokens:
        raise InputError(
            f"ids of a prompt must be in the model's vocabulary: got {largest}, expected at most {tokens - 1}; make "
            f"them with the tokenizer that belongs to the model"
        )


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
    return pool[sent(source, text.device)]


def fuse_labels(labels: torch.Tensor, plan: Plan) -> torch.Tensor:
    """(B, L) labels -> (B, T) on their device; images and padding are ignored by the loss."""
    pool = torch.cat([labels.flatten(), labels.new_full((1,), IGNORE_INDEX)])
    inside = (plan.source >= 0) & (plan.source < labels.numel())
    return pool[torch.where(inside, plan.source, labels.numel()).to(labels.device)]
