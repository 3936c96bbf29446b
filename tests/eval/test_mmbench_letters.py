"""Letters of MMBench's options, read from answers."""

import pytest

from llava.eval.benchmarks.mmbench_letters import letter_of

OPTIONS = {"A": "Red", "B": "Dark blue", "C": "Blue", "D": "None of them"}


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("B.", "B"),
        (" (C) ", "C"),
        ("b", None),
        ("The option is D", "D"),
        ("B is what I would choose here", None),  # the letter is not among the last four words
        ("B is what I choose", None),
        ("B is my choice", "B"),
        ("A cat sits here", "A"),  # the article, in an answer of four words
        ("A cat sits right here", None),
        ("A or B", None),
        ("Z", "Z"),
        ("E", None),
        ("I'm sorry, but without the image provided I would say B", "Z"),
        ("Failed to obtain answer via API: B", None),
        ("Failed to obtain answer via API: red", "A"),
        ("The answer is B because it is so and nothing else", "B"),
        ("A thing: the correct ANSWER IS **c** as we all can see here", "C"),
        ("The answer is dark and nothing else would do here", "D"),  # no word boundary behind the letter
        ("red", "A"),
        ("It is DARK BLUE.", None),  # holds Blue too
        ("It is bluish", None),
        ("It is blue.", "C"),
        ("red, " + "and so on " * 6, None),  # more than twice as long as all options
        ("", None),
    ],
)
def test_letters(answer: str, letter: str | None) -> None:
    assert letter_of(answer, OPTIONS) == letter


def test_letters_are_those_of_the_options() -> None:
    two = {"A": "yes", "B": "no"}
    assert [letter_of(text, two) for text in ("C", "the answer is D", "Yes")] == [None, None, "A"]
