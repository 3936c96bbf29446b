"""What is asked of the engine, and what it says back."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from llava.errors import InputError
from llava.reduction import Reduction


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn.

    Attributes:
        max_tokens: its length limit.
        temperature: 0 is greedy.
        top_p: the smallest set of likeliest tokens with this much probability is drawn from.
        seed: of this answer's draws; the same seed draws the same answer, whatever else is being answered.
        stop: texts that end the answer; they are not part of it.
        ends: ids that end it, besides the checkpoint's own.
        endless: ids that would end it are not drawn; its limit and stop texts do: for measuring.
        logprobs: how many of the likeliest tokens to report at each place; None: no log-probabilities at all.
    """

    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    ends: tuple[int, ...] = ()
    endless: bool = False

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise InputError(f"max_tokens must be at least 1: got {self.max_tokens}")
        if not 0 <= self.temperature <= 100:
            raise InputError(f"temperature must lie between 0 and 100: got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p must be above 0 and at most 1: got {self.top_p}")
        if not all(self.stop):
            raise InputError("a stop text must not be empty; leave it out")


@dataclass(frozen=True)
class Picture:
    """A picture as the model takes it.

    Attributes:
        pixels: (3, h, w) or (views, 3, h, w).
        size: (width, height) of the picture.
        key: what makes it the same picture.
        modality: see `llava.model.image_entries.MODALITIES`.
    """

    pixels: torch.Tensor
    size: tuple[int, int]
    key: Hashable
    modality: str = "image"


@dataclass(frozen=True)
class Piece:
    """More of an answer: `text` may be empty while a character or a stop text is not decided yet."""

    text: str
    token: int
    logprob: float | None = None
    likeliest: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class End:
    """The last of an answer's events.

    Attributes:
        reason: `stop` at an end token or stop text, `length` at the limit, `cancelled`, or `error`.
        error: what went wrong, where `reason` is `error`; `refused` where the request is to blame.
        prompt_tokens: decoder inputs of the prompt, image tokens included.
        image_tokens: image tokens that entered the LLM.
        cached_tokens: decoder inputs of the prompt that came from an image prefix known before.
        answer_tokens: tokens that were drawn.
    """

    reason: Literal["stop", "length", "cancelled", "error"]
    prompt_tokens: int = 0
    image_tokens: int = 0
    cached_tokens: int = 0
    answer_tokens: int = 0
    error: str = ""
    refused: bool = False


@dataclass
class Request:
    """One answer to be made.

    Attributes:
        ids: the prompt, -200 where a picture goes.
        pictures: in the order of the -200s.
        emit: is called in the engine's thread with every `Piece` and then once with an `End`; must not block.
        cancelled: set from any thread when nobody waits any more.
    """

    ids: tuple[int, ...]
    pictures: tuple[Picture, ...]
    reduction: Reduction
    sampling: Sampling
    emit: Callable[[Piece | End], Any]
    cancelled: bool = field(default=False)
