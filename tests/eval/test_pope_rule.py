"""POPE's rule, its numbers as published for LLaVA-1.5-13B, and its printed form."""

from pathlib import Path

import published
import pytest

from llava.errors import InputError
from llava.eval import eval_pope
from llava.eval.eval_pope import Counts, count, is_undecided, report, says_yes


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("Yes", True),
        ("No", False),
        ("no", False),
        ("No, there is none.", False),
        ("There is not. Yes", False),
        ("Yes. No", True),
        ("NO", True),
        ("None", True),
        ("No;", True),
        ("", True),
        ("No\nreally", True),
        ("It is,not", True),
        ("Certainly no", False),
    ],
)
def test_only_certain_words_of_the_first_sentence_mean_no(text: str, yes: bool) -> None:
    assert says_yes(text) is yes


def test_counts_pair_the_shorter_list() -> None:
    said, labels = [True, True, False, False, True], [True, False, False, True]
    assert count(said, labels) == Counts(tp=1, fp=1, tn=1, fn=1)


@pytest.mark.parametrize(
    ("counts", "accuracy", "precision", "f1"),
    [
        (Counts(1182, 117, 1383, 318), 0.8550, 0.9099, 0.8446),
        (Counts(1182, 59, 1441, 318), 0.8743, 0.9525, 0.8625),
        (Counts(1182, 31, 1379, 318), 0.8801, 0.9744, 0.8714),
    ],
)
def test_published_counts_of_llava_13b(counts: Counts, accuracy: float, precision: float, f1: float) -> None:
    values = [counts.accuracy, counts.precision, counts.recall, counts.f1]
    assert [round(value, 4) for value in values] == [accuracy, precision, 0.7880, f1]


def test_nothing_to_divide_by_counts_as_zero() -> None:
    assert Counts(0, 0, 3, 0).f1 == Counts(0, 0, 0, 0).accuracy == 0.0


def test_published_yes_ratio_of_llava_13b() -> None:
    lines = report("adversarial", [True] * 1299 + [False] * 1701, Counts(1182, 117, 1383, 318)).splitlines()
    assert lines[-3] == "Yes ratio: 0.433" and lines[-2] == "0.845, 0.855, 0.910, 0.788, 0.433"


def test_printed_form_is_the_official_one() -> None:
    assert report("random", [True, True, False, False], Counts(1, 1, 1, 1)) == (
        "Category: random, # samples: 4\nTP\tFP\tTN\tFN\t\n1\t1\t1\t1\nAccuracy: 0.5\nPrecision: 0.5\nRecall: 0.5\n"
        "F1 score: 0.5\nYes ratio: 0.5\n0.500, 0.500, 0.500, 0.500, 0.500\n===================="
    )


@pytest.mark.parametrize(
    ("text", "undecided"),
    [
        ("", True),
        ("NO", True),
        ("There is a dog", True),
        ("Yes", False),
        ("yes!", False),
        ("No", False),
        ("A no", False),
    ],
)
def test_answers_that_no_rule_reads_count_as_yes_and_are_counted(text: str, undecided: bool) -> None:
    assert is_undecided(text) is undecided


def test_llavas_function_prints_one_category(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    answers = [{"question_id": number, "text": text} for number, text in enumerate(("Yes", "Yes", "No.", "no"))]
    published.pope(tmp_path)
    file = str(tmp_path / "pope/coco/coco_pope_random.json")
    assert eval_pope.eval_pope(answers, file) is None
    assert capsys.readouterr().out == (
        "TP\tFP\tTN\tFN\t\n1\t1\t1\t1\nAccuracy: 0.5\nPrecision: 0.5\nRecall: 0.5\nF1 score: 0.5\nYes ratio: 0.5\n"
        "0.500, 0.500, 0.500, 0.500, 0.500\n"
    )
    for wrong in ([], answers[:3]):
        with pytest.raises(InputError, match="an answer for every label: got"):
            eval_pope.eval_pope(wrong, file)
