"""LLaVA's classes of TextVQA's scorer: the published rules and vectors."""

import importlib.util

import pytest

from llava.errors import InputError
from llava.eval.m4c_evaluator import (
    EvalAIAnswerProcessor,
    STVQAAccuracyEvaluator,
    STVQAANLSEvaluator,
    TextCapsBleu4Evaluator,
    TextVQAAccuracyEvaluator,
    edit_distance,
)


@pytest.mark.parametrize(
    ("text", "normalised"),
    [("2:30 p.m.", "2:30 pm"), ("John's", "john 's"), ("The  Cat!", "cat"), ("Ten", "10"), ("a/b c", "b c"), ("A", "")],
)
def test_answers_are_normalised(text: str, normalised: str) -> None:
    assert EvalAIAnswerProcessor()(text) == normalised


def test_tables_are_those_of_the_evaluator() -> None:
    processor = EvalAIAnswerProcessor
    assert (len(processor.CONTRACTIONS), len(processor.NUMBER_MAP), len(processor.PUNCTUATIONS)) == (120, 12, 21)
    assert processor.ARTICLES == ["a", "an", "the"] and processor.PUNCTUATIONS[0] == ";"


def test_steps_are_there_by_llavas_names() -> None:
    processor = EvalAIAnswerProcessor()
    assert processor.word_tokenize(" John's, ok? ") == "john 's ok"
    assert processor.process_punctuation("red-blue, (3.5) a.b") == "red blue 3.5 ab"
    assert processor.process_digit_article("The two dont") == "2 don't"


def entry(said: str, *right: str) -> dict:
    """A prediction with its right answers."""
    return {"pred_answer": said, "gt_answers": list(right)}


@pytest.mark.parametrize(("agree", "score"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)])
def test_textvqa_is_the_soft_accuracy(agree: int, score: float) -> None:
    right = ["The Dakota."] * agree + ["nikon"] * (10 - agree)
    assert TextVQAAccuracyEvaluator().eval_pred_list([entry("dakota", *right)]) == pytest.approx(score, abs=1e-15)


def test_stvqa_is_exact_match_with_any() -> None:
    predictions = [entry("Two dogs!", "cat", "2 dogs"), entry("dog", "dogs")]
    assert STVQAAccuracyEvaluator().eval_pred_list(predictions) == 0.5


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("same", "same", 0), ("ab", "ba", 2)],
)
def test_edit_distance(one: str, other: str, distance: int) -> None:
    assert edit_distance(one, other) == edit_distance(other, one) == distance


def test_anls_is_the_similarity_to_the_nearest_answer() -> None:
    evaluator = STVQAANLSEvaluator()
    assert evaluator.get_anls(" Kitten", "sitting ") == 1 - 3 / 7
    assert evaluator.get_anls("flaw", "lawn") == 0.5 and evaluator.get_anls("abc", "xyz") == 0.0
    assert evaluator.get_anls("", " ") == 1.0
    assert evaluator.eval_pred_list([entry("kitten", "dog", "sitting"), entry("abc", "xyz")]) == (1 - 3 / 7) / 2


@pytest.mark.parametrize("predictions", [[], [entry("a")], [{"pred_answer": 3, "gt_answers": ["a"]}], [{}]])
@pytest.mark.parametrize("evaluator", [TextVQAAccuracyEvaluator, STVQAAccuracyEvaluator, STVQAANLSEvaluator])
def test_nothing_to_score_has_no_score(evaluator: type, predictions: list[dict]) -> None:
    with pytest.raises(InputError):
        evaluator().eval_pred_list(predictions)


def test_textvqa_has_ten_annotators() -> None:
    with pytest.raises(InputError, match="TextVQA has 10 right answers to a question: got 9"):
        TextVQAAccuracyEvaluator().eval_pred_list([entry("a", *"a" * 9)])


@pytest.mark.skipif(importlib.util.find_spec("pycocoevalcap") is not None, reason="pycocoevalcap is installed")
def test_bleu_says_what_it_needs() -> None:
    with pytest.raises(ImportError, match="pip install pycocoevalcap"):
        TextCapsBleu4Evaluator()
