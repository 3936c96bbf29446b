"""GQA's metrics by hand and as published for LLaVA-1.5-13B."""

import pytest

from llava.eval.benchmarks.gqa import Question, steps_of
from llava.eval.eval_gqa import distribution, report, score


def question(answer: str = "yes", structural: str = "verify", **others: object) -> Question:
    """A balanced question."""
    settings = {"semantic": "obj", "group": None, "steps": 2, "words": 5, "balanced": True, "entailed": ()}
    return Question(answer, structural, **settings | others)


def test_published_numbers_of_llava_13b() -> None:
    """Right answers per structural type that give all published roundings, of the published numbers of questions."""
    counts = {"choose": (962, 1129), "compare": (385, 589), "logical": (1429, 1803), "query": (3313, 6805)}
    counts["verify"] = (1875, 2252)
    questions = {f"{kind}{n}": question(structural=kind) for kind, (_, all_) in counts.items() for n in range(all_)}
    texts = {name: "no" for name in questions}
    texts |= {f"{kind}{n}": "yes" for kind, (right, _) in counts.items() for n in range(right)}
    lines = report(score(questions, texts)).splitlines()
    assert len(questions) == 12578 and lines[:3] == ["Binary: 80.56%", "Open: 48.68%", "Accuracy: 63.32%"]
    assert lines[4:8] == [
        "Accuracy / structural type:",
        "  choose: 85.21% (1129 questions)",
        "  compare: 65.37% (589 questions)",
        "  logical: 79.26% (1803 questions)",
    ]
    assert lines[8] == "  query: 48.68% (6805 questions)"


def test_match_is_exact() -> None:
    questions = {name: question("on the left") for name in "abcd"}
    texts = {"a": "on the left", "b": "On the left", "c": "on the left ", "d": "left"}
    assert score(questions, texts).accuracy == 25.0


def test_steps_leave_out_looking_up() -> None:
    said = [
        "select: dog (1)",
        "relate: car,on,s (2)",
        "exist: ?",
        "query: name",
        "choose name: car|bus",
        "verify color: red",
    ]
    operations = [dict(zip(("operation", "argument"), text.split(": "))) for text in said]
    assert steps_of(operations) == 3
    assert steps_of([{"operation": "query", "argument": "color"}, {"operation": "filter", "argument": "exists"}]) == 1


def test_kinds_that_are_numbers_are_in_order_of_size() -> None:
    questions = {str(steps): question(steps=steps) for steps in (10, 9, 2)}
    assert list(score(questions, dict.fromkeys(questions, "yes")).tables["steps number"]) == [2, 9, 10]


def test_distribution_by_hand() -> None:
    """Color: red 2 and blue 2 right, red 3 and pink 1 said: 1/2 + 4/2. Place: both right. Weighted by 4 and 2."""
    colors = [("color", "red", "red"), ("color", "red", "red"), ("color", "blue", "red"), ("color", "blue", "pink")]
    others = [("place", "left", "left"), ("place", "right", "right"), (None, "yes", "no")]
    assert distribution(colors + others) == pytest.approx((2.5 * 4 + 0.0 * 2) / 6 / 100, abs=1e-15)
    assert distribution([(None, "yes", "no")]) == 0.0


def test_unbalanced_questions_count_for_consistency_only() -> None:
    questions = {
        "a": question(entailed=("a", "b", "c")),  # right, of b and c one is
        "b": question(balanced=False),
        "c": question(balanced=False),
        "d": question(entailed=("d",)),  # right, entails itself only
        "e": question(entailed=("b",)),  # wrong
        "f": question(entailed=("a", "b")),  # right, both are
    }
    texts = {"a": "yes", "b": "yes", "c": "no", "d": "yes", "e": "no", "f": "yes"}
    scores = score(questions, texts)
    assert (scores.accuracy, scores.consistency) == (75.0, 75.0)
    assert report(scores).startswith("Binary: 75.00%\nAccuracy: 75.00%\nConsistency: 75.00%\n\nAccuracy / str")
    assert score(questions, {name: text for name, text in texts.items() if name != "c"}).consistency is None
