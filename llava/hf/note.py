"""What one call of a reduced model knows: made for the call, handed to the clones that run it, gone after it."""

from collections.abc import Sequence
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


def together(kinds: Sequence[Pictures]) -> Pictures:
    """Pictures and videos of a call numbered one kind after the other, or those of several prompts."""
    if len(kinds) == 1:
        return kinds[0]
    counts = tuple(count for kind in kinds for count in kind.counts)
    entering = [kind.entering for kind in kinds if kind.entering is not None]
    if not entering:
        return Pictures(counts)
    assert len(entering) == len(kinds), "a method acts before the LLM on all kinds or on none"
    tokens, sources = (torch.cat([getattr(one, name) for one in entering]) for name in ("tokens", "sources"))
    deep = tuple(torch.cat(parts) for parts in zip(*(one.deep for one in entering)))
    return Pictures(counts, Entering(tokens, tuple(n for one in entering for n in one.counts), sources, deep))


@dataclass
class Note:
    """The state of one call.

    Attributes:
        plan: the method.
        pictures: by the id of their placeholder, set by `get_image_features` and `get_video_features`.
        shared: they were encoded before the call, and their pixels are not passed.
        prompt: (B, T) int64 on the CPU, the ids of a prompt with pictures that is being filled in; None in decoding.
        asked: (B, T) int64 on the CPU, the prompts that `generate` was given, before beams repeat them.
        labels: (B, T) int64 of a prompt, and after the call those of the tokens that are left.
        trace: filled in where given.
    """

    plan: Plan
    pictures: dict[int, Pictures] = field(default_factory=dict)
    shared: bool = False
    prompt: torch.Tensor | None = None
    asked: torch.Tensor | None = None
    labels: torch.Tensor | None = None
    trace: Trace | None = None
