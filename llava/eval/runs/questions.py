"""Questions as the runners ask them, whatever file they come from."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from llava.constants import DEFAULT_IM_END_TOKEN, DEFAULT_IM_START_TOKEN, DEFAULT_IMAGE_TOKEN
from llava.conversation import get_conv_template
from llava.errors import InputError
from llava.mm_utils import open_image


@dataclass(frozen=True)
class Question:
    """One question to the model and what is written with its answer.

    Attributes:
        where: file and line, for complaints.
        message: the user's message without image token.
        image: opens the picture, RGB; None for a question without one. Called in a worker process. Questions whose
            images are equal, or have an equal `identity`, are about the same picture, which is then encoded once.
        head: first keys of the answer's record (`question_id`, `prompt`), in order.
        tail: keys between `text` and `answer_id`, in order.
    """

    where: str
    message: str
    image: Callable[[], Image.Image] | None
    head: dict[str, Any]
    tail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class QuestionImage:
    """A picture that is read when it is called, for the question it belongs to.

    Attributes:
        identity: what is the same for all questions about this picture.
        where: the question's line or row, named where the picture cannot be read.
    """

    identity: str
    where: str

    def read(self) -> Image.Image:
        """The picture, from its identity."""
        raise NotImplementedError

    def __call__(self) -> Image.Image:
        try:
            return self.read()
        except InputError as error:
            raise InputError(f"{error} (asked for in {self.where})") from None


class FileImage(QuestionImage):
    """A picture file; `identity` is its path."""

    def read(self) -> Image.Image:
        """Opened."""
        return open_image(self.identity)


def chunk(items: list, chunks: int, index: int) -> list:
    """The `index`-th of `chunks` consecutive slices of ceil(total / chunks) items, LLaVA's way of sharing work.

    Some totals fill fewer slices than asked for; the slices left over are empty.
    """
    if chunks < 1 or not 0 <= index < chunks:
        raise InputError(f"--chunk-idx must lie below --num-chunks: got {index} of {chunks}; count from 0")
    size = math.ceil(len(items) / chunks)
    return items[index * size : (index + 1) * size]


def check_images_exist(questions: list[Question]) -> None:
    """Refuse a missing picture before anything is loaded, naming it and the question's line."""
    for question in questions:
        if isinstance(question.image, FileImage) and not Path(question.image.identity).is_file():
            raise InputError(
                f"a question's image must exist: '{question.image.identity}' does not ({question.where}); "
                f"check --image-folder"
            )


def render(message: str, with_image: bool, conv_mode: str, start_end: bool) -> str:
    """The prompt of a single question under a conversation template; the image token goes first, on its own line."""
    if with_image:
        token = DEFAULT_IMAGE_TOKEN
        if start_end:
            token = DEFAULT_IM_START_TOKEN + token + DEFAULT_IM_END_TOKEN
        message = f"{token}\n{message}"
    conversation = get_conv_template(conv_mode)
    conversation.append_message(conversation.roles[0], message)
    conversation.append_message(conversation.roles[1], None)
    return conversation.get_prompt()
