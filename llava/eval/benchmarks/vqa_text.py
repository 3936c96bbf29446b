"""How VQA benchmarks compare answers: two variants of one normaliser, and the soft accuracy of ten annotators.

`normalise_m4c` is TextVQA's and makes the upload files of VQAv2 and VizWiz; `normalise_official` is what the servers
of VQAv2 and VizWiz do on top. Neither is idempotent: `whats` becomes `what's`, which m4c then splits to `what 's`.
"""

import re

from llava.eval.benchmarks.vqa_tables import ARTICLES, CONTRACTIONS, NUMBERS, PUNCTUATION

THOUSANDS = re.compile(r"\d,\d")
PERIOD = re.compile(r"\.(?!\d)")
# Official: a flag whose value is 32 stands where the number of replacements belongs, so a 33rd period stays.
PERIODS_DELETED = 32
ENOUGH = 3  # annotators that make an answer right


def normalise_m4c(text: str) -> str:
    """An answer as TextVQA's m4c evaluator compares it: without `,` and `?`, with a space before every `'s`."""
    return _normalise(one_line(open_words(text)))


def normalise_official(text: str) -> str:
    """An answer as the official VQA evaluator (`vqaEval.py`) compares it."""
    return _normalise(one_line(text))


def one_line(text: str) -> str:
    """Line feeds and tabs as spaces, none around: all that is done where the official evaluator compares raw."""
    return text.replace("\n", " ").replace("\t", " ").strip()


def open_words(text: str) -> str:
    """What m4c does first: lower case, no `,` and `?`, a space before every `'s`, none around."""
    return text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()


def _normalise(text: str) -> str:
    return map_words(clear_marks(text))


def clear_marks(text: str) -> str:
    """Punctuation deleted or made a space, and periods that begin no fraction deleted."""
    grouped = THOUSANDS.search(text) is not None
    result = text
    for mark in PUNCTUATION:
        # Looked for in the untouched text, so that an earlier mark never puts a space beside a later one.
        beside_space = f"{mark} " in text or f" {mark}" in text
        result = result.replace(mark, "" if beside_space or grouped else " ")
    return PERIOD.sub("", result, count=PERIODS_DELETED)


def map_words(text: str) -> str:
    """Words in lower case, numbers as digits, without articles, contractions with their apostrophe."""
    words = [NUMBERS.get(word, word) for word in text.lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def soft_accuracy(prediction: str, answers: list[str]) -> float:
    """VQA accuracy in 0..1 of a normalised prediction among the annotators' normalised answers (not empty).

    Officially the mean over annotators of min(1, matches among the others / 3); here in closed form, in which each
    annotator who agrees leaves one match less to the others. Of ten, 0 to 4 matches give 0, 0.3, 0.6, 0.9, 1.
    """
    matches, others = answers.count(prediction), len(answers)
    thirds = matches * min(ENOUGH, matches - 1) + (others - matches) * min(ENOUGH, matches)
    return thirds / (ENOUGH * others)
