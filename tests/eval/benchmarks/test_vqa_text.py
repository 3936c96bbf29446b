"""The VQA normaliser in both variants, its tables, and soft accuracy against the leave-one-out it is short for."""

import hashlib
import itertools
import json
from fractions import Fraction

import pytest

from llava.eval.benchmarks.vqa_tables import ARTICLES, CONTRACTIONS, NUMBERS, PUNCTUATION
from llava.eval.benchmarks.vqa_text import normalise_m4c, normalise_official, soft_accuracy

# Input, m4c, official.
VECTORS = [
    ("2:30 p.m.", "2:30 pm", "2:30 pm"),
    ("$1,000.00", "$1000.00", "$1000.00"),
    ("1,2", "12", "12"),
    ("1, 2", "1 2", "1 2"),
    ("red,blue", "redblue", "red blue"),
    ("red, blue", "red blue", "red blue"),
    ("John's", "john 's", "john's"),
    ("it's a.", "it 's", "it's"),
    ("Let's go", "let 's go", "let's go"),
    ("dont", "don't", "don't"),
    ("Im", "im", "im"),
    ("y'all'd've", "y'all'd've", "y'all'd've"),
    ("a.b", "ab", "ab"),
    ("U.S.A.", "usa", "usa"),
    ("e.g. x", "eg x", "eg x"),
    ("10-15", "10 15", "10 15"),
    ("10 - 15", "10 15", "10 15"),
    ("five-six", "5 6", "5 6"),
    ("7-eleven", "7 eleven", "7 eleven"),
    ("The  Cat!", "cat", "cat"),
    ("what?", "what", "what"),
    ("yes.", "yes", "yes"),
    ("No.", "no", "no"),
    ("a/b c", "b c", "b c"),
    ("N/A", "n", "n"),
    ("3.5", "3.5", "3.5"),
    (".5", ".5", ".5"),
    ("5.", "5", "5"),
    ("100%", "100%", "100%"),
    ("(maybe)", "maybe", "maybe"),
    ('"hi"', "hi", "hi"),
    ("x_y", "x y", "x y"),
    ("none", "0", "0"),
    ("Ten", "10", "10"),
    ("A", "", ""),
    ("an", "", ""),
    ("the", "", ""),
    ("", "", ""),
    # Beyond the published vectors: what each rule leaves alone or reaches for.
    ("up\nand\tdown ", "up and down", "up and down"),
    ("up-\tdown left-right", "up down leftright", "up down leftright"),
    ("up-\ndown left-right", "up down leftright", "up down leftright"),
    ("x,? ", "x", "x"),
    ("left?right", "leftright", "left right"),
    ("1,000 red-blue", "1000 red blue", "1000 redblue"),
    ("1,,2", "12", "1 2"),
    ("left-right - up", "leftright up", "leftright up"),
    ("a;b", "b", "b"),
    ("<x> y", "x y", "x y"),
    *[(text, text, text) for text in ("x: b", "b & 'c'", "#1 $2 *3 ~4 |5 ^6")],
    ("SHE'S", "she 's", "she's"),
    ("somebody'd", "somebodyd", "somebodyd"),
    ("who-s-.7", "who s .7", "who s .7"),
]


@pytest.mark.parametrize(("text", "m4c", "official"), VECTORS)
def test_vectors_of_both_variants(text: str, m4c: str, official: str) -> None:
    assert (normalise_m4c(text), normalise_official(text)) == (m4c, official)


def test_the_mark_beside_a_space_is_looked_for_before_anything_is_replaced() -> None:
    # `;` becomes a space first; were `/` looked for afterwards, it would stand beside a space and be deleted.
    for text in ("left/;right up/down", "left;/right up/down"):
        assert normalise_m4c(text) == normalise_official(text) == "left right up down"


@pytest.mark.parametrize("normalise", [normalise_m4c, normalise_official])
def test_no_more_than_32_periods_are_deleted(normalise: object) -> None:
    assert normalise("x" + 32 * "." + "y") == "xy"
    assert normalise("x" + 35 * "." + "y") == "x...y"
    assert normalise(40 * ".1" + 33 * ".") == 40 * ".1" + "."


def test_normalising_twice_can_differ() -> None:
    assert normalise_m4c("whats") == "what's" and normalise_m4c("what's") == "what 's"
    long = "x" + 40 * "." + "y"
    assert normalise_official(normalise_official(long)) == "xy" != normalise_official(long)


def test_punctuation_in_the_official_order() -> None:
    assert "".join(PUNCTUATION) == ';/[]"{}()=+\\_-><@`,?!' and len(PUNCTUATION) == 21


def test_number_words_and_articles() -> None:
    ten = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    assert {word: str(number) for number, word in enumerate(ten)} | {"none": "0"} == NUMBERS
    assert {"a", "an", "the"} == ARTICLES


def test_contractions_are_120_with_the_official_slips() -> None:
    digest = hashlib.sha256(json.dumps(CONTRACTIONS).encode()).hexdigest()
    assert len(CONTRACTIONS) == 120 and digest.startswith("3c4f5d088762581d")
    assert list(CONTRACTIONS)[:3] == ["aint", "arent", "cant"] and list(CONTRACTIONS)[-1] == "youve"
    wrong = {key: value for key, value in CONTRACTIONS.items() if key.replace("'", "") != value.replace("'", "")}
    assert wrong == {}, "a contraction differs from its word by apostrophes only"
    assert {key for key, value in CONTRACTIONS.items() if key == value} == {"let's", "she's"}
    assert [key for key, value in CONTRACTIONS.items() if value.count("'") < key.count("'")] == ["somebody'd"]
    assert [key for key in CONTRACTIONS if key != key.lower()] == ["Id've", "I'dve", "Im", "Ive"]


@pytest.mark.parametrize(("word", "value"), CONTRACTIONS.items())
def test_every_contraction_that_can_match_does(word: str, value: str) -> None:
    if word != word.lower():
        assert normalise_official(word) == word.lower()
        return
    assert normalise_official(f"Oh {word.upper()}!") == f"oh {value}"
    assert normalise_m4c(word) == (word.replace("'s", " 's") if "'s" in word else value)


def leave_one_out(prediction: str, answers: list[str]) -> Fraction:
    """The rule as it is told: everybody's answer is left out once, three of the others make an answer right."""
    scores = []
    for left_out in range(len(answers)):
        others = answers[:left_out] + answers[left_out + 1 :]
        scores.append(min(Fraction(1), Fraction(sum(other == prediction for other in others), 3)))
    return sum(scores, Fraction(0)) / len(answers)


@pytest.mark.parametrize(("matches", "score"), enumerate([0.0, 0.3, 0.6, 0.9] + 7 * [1.0]))
def test_soft_accuracy_of_ten_annotators(matches: int, score: float) -> None:
    answers = (10 - matches) * ["no"] + matches * ["yes"]
    assert soft_accuracy("yes", answers) == score == float(leave_one_out("yes", answers))


def test_soft_accuracy_is_the_leave_one_out_for_any_order_and_number_of_annotators() -> None:
    for size in range(1, 8):
        for answers in itertools.product(("yes", "no"), repeat=size):
            assert soft_accuracy("yes", list(answers)) == float(leave_one_out("yes", list(answers)))
