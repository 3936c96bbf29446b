"""What one call of a reduced model knows: made for the call, handed to the clones that run it, gone after it."""

from dataclasses import dataclass, field

import torch

from llava.hf.plan import Plan
from llava.model.trace import Trace


@dataclass(frozen=True)
class Entering:
    """What stands in the place of each picture's tokens before the first layer of the LLM.

    Attributes:
        tokens: (total, D), of all pictures one after the other.
        counts: how many each picture has.
        sources: (total,) int64, the number of the picture's own token whose position a token takes.
        deep: (total, D) each, what is added to the tokens after the first layers (Qwen3-VL).
    """

    tokens: torch.Tensor
    counts: tuple[int, ...]
    sources: torch.Tensor
    deep: tuple[torch.Tensor, ...] = ()


@dataclass(frozen=True)
class Pictures:
    """The pictures of a call, encoded.

    Attributes:
        counts: placeholders of each picture in the prompt.
        entering: what takes their place; None: they stay as they are.
    """

    counts: tuple[int, ...]
    entering: Entering | None = None


@dataclass
class Note:
    """The state of one call.

    Attributes:
        plan: the method.
        pictures: set by `get_image_features`.
        prompt: (B, T) int64 on the CPU, the ids of a prompt with pictures that is being filled in; None in decoding.
        picture_token: the placeholder's id.
        trace: filled in where given.
    """

    plan: Plan
    picture_token: int
    pictures: Pictures | None = None
    prompt: torch.Tensor | None = None
    trace: Trace | None = field(default=None)
