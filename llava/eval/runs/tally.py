"""The average image tokens of a run, counted from what was computed; a run that goes on adds to what it had counted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from llava.model.generation.prefix import ImagePrefix
from llava.model.trace import CountTrace
from llava.reduction.schedule import layers_per_stage


@dataclass(frozen=True)
class Tally:
    """Image tokens per LLM layer, on average over so many questions with pictures."""

    average: float = 0.0
    questions: int = 0

    def plus(self, counted: Iterable[float]) -> "Tally":
        """With questions of so many tokens each."""
        more = list(counted)
        total = self.average * self.questions + sum(more)
        questions = self.questions + len(more)
        return Tally(total / questions if questions else 0.0, questions)

    @property
    def notes(self) -> dict[str, Any]:
        """What a settings file keeps of it."""
        return {"average_tokens": self.average, "questions_counted": self.questions}

    @property
    def said(self) -> str:
        """In words."""
        if not self.questions:
            return "counted: no image tokens, since no question has a picture"
        return f"counted: {self.average:.1f} image tokens per LLM layer, on average over {self.questions} questions"


def counted(prefixes: Sequence[ImagePrefix | None], trace: CountTrace, layers: int) -> dict[int, float]:
    """Image tokens per LLM layer that rows of a batch were computed with, by row; rows without picture are left out.

    Args:
        prefixes: of each row, in which they are counted where the LLM has run over them.
        trace: of `ask`, where it ran over the images.
        layers: of the LLM.
    """
    known = {row: own.tokens_per_layer for row, own in enumerate(prefixes) if own is not None}
    if any(tokens is None for tokens in known.values()):
        method = next(own.reduction for own in prefixes if own is not None)
        known = dict(trace.tokens(layers_per_stage(method, layers)))
    return {row: tokens for row, tokens in known.items() if tokens is not None}


def tally_of(settings: dict[str, Any]) -> Tally | None:
    """What a run has counted, from its settings; None where they do not say, as those of earlier versions."""
    average, questions = settings.get("average_tokens"), settings.get("questions_counted")
    if type(questions) is not int or questions < 0 or not isinstance(average, int | float) or not average >= 0:
        return None
    return Tally(float(average), questions)


def together(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """The notes of a merged run from the settings of its chunks; none where no chunk has counted."""
    counted = [one for settings in chunks if (one := tally_of(settings)) is not None]
    questions = sum(one.questions for one in counted)
    total = sum(one.average * one.questions for one in counted)
    return Tally(total / questions if questions else 0.0, questions).notes if counted else {}
