"""The schedules of a run: of its pictures, and of its videos, which have other numbers of tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llava.eval.runs.method_options import MethodChoice
from llava.eval.runs.questions import FileVideo, Question
from llava.model.builder import model_geometry
from llava.model.geometry import video_geometry_of
from llava.model.multimodal_encoder.source import tower_config
from llava.reduction import Geometry, Reduction


@dataclass(frozen=True)
class Schedule:
    """What one kind of questions is asked under.

    Attributes:
        modality: `image` or `video`.
        geometry: of its largest picture, or of its videos.
    """

    modality: str
    method: Reduction
    geometry: Geometry


def schedules_of(choice: MethodChoice, config: Any, questions: Sequence[Question]) -> list[Schedule]:
    """A schedule for each kind of questions there is, in the order in which they first come; at least one.

    A budget (`--retain`) is that of a picture and of a video alike; each kind has its own schedule for it.

    Args:
        config: prepared (`prepare_tower`).
        questions: of all chunks.
    Raises:
        InputError: for a method that does not fit.
    """
    kinds = list(dict.fromkeys(question.modality for question in questions)) or ["image"]
    schedules = []
    for kind in kinds:
        own = [question for question in questions if question.modality == kind]
        frames = max((question.image.frames for question in own if isinstance(question.image, FileVideo)), default=0)
        geometry = geometry_for(config, frames)
        schedules.append(Schedule(kind, choice.build(geometry), geometry))
    return schedules


def geometry_for(config: Any, frames: int) -> Geometry:
    """What a method must fit into: a model's pictures, or its videos of so many frames where there are any."""
    if not frames:
        return model_geometry(config)
    tower = tower_config(config.mm_vision_config, "mm_vision_config", "a configuration")
    return video_geometry_of(config, tower, frames)
