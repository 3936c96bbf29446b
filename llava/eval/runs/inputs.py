"""Questions to model inputs: prompt to ids, picture or video to pixels, in worker processes, and batches of them."""

from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from llava.errors import InputError
from llava.eval.runs.questions import Question, render
from llava.mm_utils import process_picture, tokenizer_image_token
from llava.video_pixels import process_video


class PreparedQuestions(Dataset):
    """Questions as (ids, pixels, size): ids (L,) int64, pixels (3, h, w) or (v, 3, h, w), size (width, height).

    Of a video the frames are the views, and size is that of its first one; see `modality`. pixels and size are None
    for a question without picture. A picture that cannot be read is an item too, an
    InputError, so that the main process can write the answers before it and then raise it.
    """

    def __init__(self, questions: list[Question], tokenizer: Any, processor: Any, config: Any, conv_mode: Any) -> None:
        self.questions, self.tokenizer, self.processor = questions, tokenizer, processor
        self.config, self.conv_mode = config, conv_mode

    def __len__(self) -> int:
        return len(self.questions)

    def modality(self, number: int) -> str:
        """`video` or `image`: what a question is about."""
        return self.questions[number].modality

    def __getitem__(self, index: int | tuple[int, bool]) -> Any:
        """Item `index`; with (index, False) without reading its picture: pixels and size are None then."""
        number, with_picture = index if isinstance(index, tuple) else (index, True)
        question = self.questions[number]
        try:
            return self._prepared(question, with_picture)
        except InputError as error:
            return error
        except MemoryError:
            return InputError(f"a picture must fit into memory: that of {question.where} does not; make it smaller")

    def _prepared(self, question: Question, with_picture: bool) -> tuple[torch.Tensor, torch.Tensor | None, Any]:
        image = question.image() if question.image is not None and with_picture else None
        start_end = getattr(self.config, "mm_use_im_start_end", False)
        prompt = render(question.message, question.image is not None, self.conv_mode, start_end)
        ids = tokenizer_image_token(prompt, self.tokenizer, return_tensors="pt")
        if image is None:
            return ids, None, None
        try:
            if isinstance(image, list):
                return ids, process_video(image, self.processor), image[0].size
            return ids, process_picture(image, self.processor, self.config)[0], image.size
        except InputError as error:
            raise InputError(f"{error} (asked for in {question.where})") from None


def batches(data: PreparedQuestions, first: int, batch_size: int, workers: int) -> DataLoader:
    """Lists of items from question `first` on, `batch_size` at a time, in order."""
    rest = torch.utils.data.Subset(data, range(first, len(data)))
    return DataLoader(rest, batch_size=batch_size, num_workers=workers, collate_fn=list, shuffle=False)


def planned_batches(
    data: PreparedQuestions, plan: list[list[tuple[int, bool]]], workers: int, pin_memory: bool
) -> DataLoader:
    """Lists of items as a plan says, read ahead in `workers` processes (0: in this one, when asked for).

    Args:
        plan: the indices of each batch, as `PreparedQuestions` takes them.
        pin_memory: hand out tensors in page-locked memory, from which a GPU copies while it computes.
    """
    return DataLoader(data, batch_sampler=plan, num_workers=workers, collate_fn=list, pin_memory=pin_memory)


def modality_of(asked: str, pixels: torch.Tensor) -> str:
    """What `generate` must know of pixels: a `video`, or of a picture an `image` of several views or one `view`."""
    return asked if asked == "video" else "view" if pixels.ndim == 3 else "image"


def collate(items: list[tuple[torch.Tensor, torch.Tensor | None, Any]]) -> dict[str, Any]:
    """Arguments of `generate` for some items: ids padded on the left, their mask, pictures and sizes.

    Padding ids are zero; the mask says where they are.
    """
    width = max(len(ids) for ids, _, _ in items)
    input_ids = torch.zeros(len(items), width, dtype=torch.long)
    mask = torch.zeros(len(items), width, dtype=torch.long)
    for row, (ids, _, _) in enumerate(items):
        input_ids[row, width - len(ids) :] = ids
        mask[row, width - len(ids) :] = 1
    images = [(pixels, size) for _, pixels, size in items if pixels is not None]
    return {
        "input_ids": input_ids,
        "attention_mask": mask,
        "images": [pixels for pixels, _ in images] or None,
        "image_sizes": [size for _, size in images] or None,
        "modalities": [modality_of("image", pixels) for pixels, _ in images] or None,
    }
