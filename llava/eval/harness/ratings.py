"""Likelihoods in the form in which each of lmms-eval's versions leaves them alone."""

from collections.abc import Iterator
from typing import Any

from lmms_eval.api import instance


def as_ratings(scores: list[tuple[float, bool]]) -> list[Any]:
    """Pairs of a loss and whether the answer is the model's own, which can be unpacked.

    From 0.7 to 0.7.3 lmms-eval turns every result into text that is neither text nor a `GenerationResult`, a pair of
    numbers too, and its own tasks of likelihoods then fail. What a `GenerationResult` holds it hands on.
    """
    result = getattr(instance, "GenerationResult", None)
    if result is None:
        return [*scores]

    class Rating(result):  # type: ignore[valid-type]
        """A result that holds a pair and is one."""

        def __iter__(self) -> Iterator[Any]:
            return iter(self.text)

    return [Rating(score) for score in scores]
