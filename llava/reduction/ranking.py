"""Who ranks image tokens inside the LLM: other image tokens (VisionDrop), or the last prompt token (PyramidDrop).

Each of the two methods can be given the other's, which is the one thing in which their papers disagree: a pair of runs
that differ in nothing else. What text ranks depends on the question.
"""

import dataclasses
from typing import Any

import torch

from llava.reduction.base import Evidence
from llava.reduction.scoring import mean_received
from llava.reduction.stages import image_scores

VISUAL, TEXT = "visual", "text"


def ranking_setting(published: str) -> Any:
    """The field `ranking` of a method; to be written `ranking: str = ranking_setting("visual")`.

    It may be said beside a budget, and is left out of what is written down where it is as published. The method calls
    `reads_by` when it is made.
    """
    text = "who ranks inside the LLM: visual (image tokens) or text (the last prompt token); unset: as published"
    return dataclasses.field(
        default=published, kw_only=True, metadata={"help": text, "choices": (VISUAL, TEXT), "beside_budget": True}
    )


def reads_by(method: Any) -> None:
    """Say of a method, while it is made, that its choices depend on the question exactly where text ranks."""
    object.__setattr__(method, "reads_question", method.ranking == TEXT)


def ranked_by(ranking: str, evidence: Evidence) -> torch.Tensor:
    """(I, n) float32: what each image token receives, from the image's own tokens or from the last prompt token."""
    return image_scores(evidence) if ranking == VISUAL else mean_received(evidence.attention_from_last())
