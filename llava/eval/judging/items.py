"""What is scored as one: a question, or MMBench's question in every order of its options, with its rule."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llava.eval.runs.questions import Question

RIGHT = 0.5  # from this score on an item counts as answered rightly, where a count is asked for


@dataclass(frozen=True)
class Item:
    """One thing that is scored.

    Attributes:
        questions: what is asked of the model, one after the other.
        image: the picture's name; items about one picture stand or fall together.
        category: the kind that tables list.
        judge: the score, 0 to 1, from the answers to `questions`.
        label: the right answer where a benchmark's own score needs it.
    """

    questions: tuple[Question, ...]
    image: str
    category: str
    judge: Callable[[Sequence[str]], float]
    label: str = ""

    @property
    def record(self) -> dict[str, str]:
        """As `llava.eval.curves.points` takes it."""
        return {"image": self.image, "category": self.category}


def single(question: Question, image: str, category: str, judge: Callable[[str], float], label: str = "") -> Item:
    """An item of one question; `judge` is given its one answer."""
    return Item((question,), image, category, lambda texts: float(judge(texts[0])), label)


def questions_of(items: Sequence[Item]) -> list[Question]:
    """All that is asked, in order."""
    return [question for item in items for question in item.questions]


def scores_of(items: Sequence[Item], texts: Sequence[str]) -> list[float]:
    """The score of every item from the answers to `questions_of`."""
    rest = iter(texts)
    return [item.judge([next(rest) for _ in item.questions]) for item in items]


def every_nth_picture(items: Sequence[Item], step: int) -> list[Item]:
    """The items about every `step`-th picture, in their order."""
    chosen = set(list(dict.fromkeys(item.image for item in items))[::step])
    return [item for item in items if item.image in chosen]
