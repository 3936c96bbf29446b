"""Questions as the runners ask them, whatever file they come from: about a picture, a video, or nothing to be seen."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from llava.constants import DEFAULT_IM_END_TOKEN, DEFAULT_IM_START_TOKEN, DEFAULT_IMAGE_TOKEN
from llava.conversation import Conversation, get_conv_template
from llava.errors import InputError, shown
from llava.files.videos import open_video
from llava.mm_utils import open_image

Seen = Image.Image | list[Image.Image]  # a picture, or the frames of a video


@dataclass(frozen=True)
class Question:
    """One question to the model and what is written with its answer.

    Attributes:
        where: file and line, for complaints.
        message: the user's message without image token.
        image: opens the picture, RGB, or the frames of a video; None for a question without one. Called in a worker
            process. Questions whose images are equal, or have an equal `identity`, are about the same picture, which
            is then encoded once.
        head: first keys of the answer's record (`question_id`, `prompt`), in order.
        tail: keys between `text` and `answer_id`, in order.
    """

    where: str
    message: str
    image: Callable[[], Seen] | None
    head: dict[str, Any]
    tail: dict[str, Any] = field(default_factory=dict)

    @property
    def modality(self) -> str:
        """`video` or `image`, as `generate` takes it."""
        return "video" if isinstance(self.image, FileVideo) else "image"


@dataclass(frozen=True)
class QuestionImage:
    """A picture that is read when it is called, for the question it belongs to.

    Attributes:
        identity: what is the same for all questions about this picture.
        where: the question's line or row, named where the picture cannot be read.
    """

    identity: str
    where: str

    def read(self) -> Seen:
        """The picture, from its identity."""
        raise NotImplementedError

    def __call__(self) -> Seen:
        try:
            return self.read()
        except InputError as error:
            raise InputError(f"{error} (asked for in {self.where})") from None


class FileImage(QuestionImage):
    """A picture file; `identity` is its path."""

    def read(self) -> Image.Image:
        """Opened."""
        return open_image(self.identity)


@dataclass(frozen=True)
class FileVideo(QuestionImage):
    """A video's file or folder of frames, of which `frames` are read; `identity` is its path."""

    frames: int = 8

    def read(self) -> list[Image.Image]:
        """Its frames, evenly spaced."""
        return open_video(self.identity, self.frames)


def chunk(items: list, chunks: int, index: int) -> list:
    """The `index`-th of `chunks` consecutive slices of ceil(total / chunks) items, LLaVA's way of sharing work.

    Some totals fill fewer slices than asked for; the slices left over are empty.
    """
    if chunks < 1 or not 0 <= index < chunks:
        raise InputError(f"--chunk-idx must lie below --num-chunks: got {index} of {chunks}; count from 0")
    size = math.ceil(len(items) / chunks)
    return items[index * size : (index + 1) * size]


def check_questions(questions: list[Question], skip_unreadable: bool = False) -> None:
    """Refuse before anything is loaded what could not be asked, naming the question and its line.

    Args:
        skip_unreadable: let pictures be missing, as long as one is there.

    Raises:
        InputError: for the literal `<image>` in a question's text, which a prompt takes for a picture, and for a
            picture that is missing.
    """
    for question in questions:
        if DEFAULT_IMAGE_TOKEN in question.message:
            raise InputError(
                f"a question's text must not hold {DEFAULT_IMAGE_TOKEN}, which stands for a picture: {question.where} "
                f"(question_id {shown(question.head.get('question_id'))}) does; take it out where the question's "
                f"picture is meant, which goes first by itself, or write < image > where the word is meant"
            )
    files: dict[tuple[str, str], str] = {}
    for question in questions:
        if isinstance(question.image, FileImage | FileVideo):
            files.setdefault((question.modality, question.image.identity), question.where)
    there = {"image": os.path.isfile, "video": os.path.exists}
    missing = [(kind, path) for kind, path in files if not there[kind](path)]
    if missing and not (skip_unreadable and len(missing) < len(files)):
        kind, path = missing[0]
        raise InputError(
            f"a question's {kind} must exist: {shown(path, 300)} does not ({files[kind, path]}); check "
            f"--{kind}-folder, or go on without it: --skip-unreadable"
        )


def can_be_read(question: Question) -> bool:
    """Whether the question's picture can be read, or it has none."""
    try:
        if question.image is not None:
            question.image()
    except InputError:
        return False
    return True


def render(message: str, with_image: bool, conv_mode: str | Conversation, start_end: bool) -> str:
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
