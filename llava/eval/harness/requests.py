"""lmms-eval's requests as this package asks questions: a prompt's ids, a picture's pixels, and what makes it known."""

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.eval.runs.answering import Item
from llava.eval.runs.questions import render
from llava.mm_utils import process_picture, tokenizer_image_token


@dataclass(frozen=True)
class Request:
    """One of lmms-eval's, its arguments by name.

    Attributes:
        context: the question.
        detail: what comes second: generation arguments, or of a likelihood the answer.
        document: the dataset's record.
    """

    context: Any
    detail: Any
    visuals_of: Any
    document: Any

    @classmethod
    def of(cls, instance: Any, task_dict: dict[str, Any]) -> "Request":
        """From lmms-eval's instance; a picture is decoded when it is asked for."""
        context, detail, visuals_of, number, task, split = instance.args
        return cls(context, detail, visuals_of, lambda: task_dict[task][split][number])

    def visuals(self) -> list[Any]:
        """What is seen: pictures, mostly."""
        found = self.visuals_of(self.document()) if self.visuals_of is not None else None
        return [one for one in found or [] if one is not None]

    def picture(self) -> Image.Image | None:
        """The one picture that the question is about; None where there is another number of them, or none."""
        if not isinstance(self.context, str) or DEFAULT_IMAGE_TOKEN in self.context:
            return None
        visuals = self.visuals()
        return visuals[0] if len(visuals) == 1 and isinstance(visuals[0], Image.Image) else None

    def answer(self) -> str:
        """The answer that is to be rated."""
        return self.detail if isinstance(self.detail, str) else str(self.detail(self.document()))


@dataclass
class PicturedRequests:
    """Requests about one picture each, as `Answering` wants its questions.

    Attributes:
        keys: what makes the pictures of requests the same, by number; filled in as they are prepared.
    """

    requests: Sequence[Request]
    tokenizer: Any
    processor: Any
    config: Any
    conv_mode: str
    keys: list[Hashable] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.keys = [None] * len(self.requests)

    def modality(self, number: int) -> str:
        """All are about pictures."""
        return "image"

    def __getitem__(self, number: int) -> Item:
        """ids (L,), pixels, size (width, height)."""
        picture = self.requests[number].picture()
        assert picture is not None
        return self.item(number, picture, True)

    def item(self, number: int, picture: Image.Image, with_pixels: bool) -> Item:
        """The same of a picture that is decoded already; without its pixels where they are known to be seen."""
        self.keys[number] = digest_of(picture)
        prompt = render(self.requests[number].context, True, self.conv_mode, start_end=False)
        ids = tokenizer_image_token(prompt, self.tokenizer, return_tensors="pt")
        if not with_pixels:
            return ids, None, None
        return ids, process_picture(picture, self.processor, self.config)[0], picture.size


def digest_of(picture: Image.Image) -> str:
    """What two pictures of the same pixels have in common."""
    head = f"{picture.mode} {picture.size} {picture.getpalette() if picture.mode == 'P' else ''}"
    return hashlib.sha256(head.encode() + picture.tobytes()).hexdigest()
