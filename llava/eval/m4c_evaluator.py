"""LLaVA's public classes of TextVQA's scorer, on top of `benchmarks/vqa_text.py`; other programs import them.

Every evaluator takes `eval_pred_list(pred_list)`, a list of `{"pred_answer": text, "gt_answers": [texts]}`, and gives
the mean score in 0..1. A list without entries, or an entry without right answers, has no score.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from llava.errors import InputError, shown
from llava.eval.benchmarks.vqa_tables import ARTICLES, CONTRACTIONS, NUMBERS, PUNCTUATION
from llava.eval.benchmarks.vqa_text import (
    PERIOD,
    THOUSANDS,
    clear_marks,
    map_words,
    normalise_m4c,
    open_words,
    soft_accuracy,
)

ANNOTATORS = 10
ALIKE = 0.5  # similarity below which an answer counts for nothing, in ANLS
Entry = dict[str, Any]


class EvalAIAnswerProcessor:
    """Normalises an answer as TextVQA's m4c evaluator does; the tables are there under LLaVA's names."""

    CONTRACTIONS = CONTRACTIONS
    NUMBER_MAP = NUMBERS
    ARTICLES = sorted(ARTICLES)
    PERIOD_STRIP = PERIOD
    COMMA_STRIP = THOUSANDS
    PUNCTUATIONS = list(PUNCTUATION)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is done with what is given, as in LLaVA."""

    def __call__(self, item: str) -> str:
        """The normalised answer."""
        return normalise_m4c(item)

    def word_tokenize(self, word: str) -> str:
        """The first step: lower case, without `,` and `?`, a space before `'s`."""
        return open_words(word)

    def process_punctuation(self, in_text: str) -> str:
        """The second step: punctuation and periods."""
        return clear_marks(in_text)

    def process_digit_article(self, in_text: str) -> str:
        """The third step: words."""
        return map_words(in_text)


class TextVQAAccuracyEvaluator:
    """Soft accuracy of ten annotators; prediction and right answers are normalised."""

    def __init__(self) -> None:
        self.answer_processor = EvalAIAnswerProcessor()

    def eval_pred_list(self, pred_list: Sequence[Entry]) -> float:
        """The mean; InputError for other than ten right answers."""
        return _mean(self._score(entry) for entry in _checked(pred_list))

    def _score(self, entry: Entry) -> float:
        answers = [self.answer_processor(answer) for answer in entry["gt_answers"]]
        if len(answers) != ANNOTATORS:
            raise InputError(f"TextVQA has {ANNOTATORS} right answers to a question: got {len(answers)}")
        return soft_accuracy(self.answer_processor(entry["pred_answer"]), answers)


class STVQAAccuracyEvaluator:
    """Exact match with any of the right answers, all normalised."""

    def __init__(self) -> None:
        self.answer_processor = EvalAIAnswerProcessor()

    def eval_pred_list(self, pred_list: Sequence[Entry]) -> float:
        """The mean."""
        return _mean(
            float(self.answer_processor(entry["pred_answer"]) in map(self.answer_processor, entry["gt_answers"]))
            for entry in _checked(pred_list)
        )


class STVQAANLSEvaluator:
    """Average normalised Levenshtein similarity, without case and surrounding white space."""

    def get_anls(self, s1: str, s2: str) -> float:
        """The similarity of two texts, 0..1; below a half it is 0. Two empty texts are the same."""
        one, other = s1.lower().strip(), s2.lower().strip()
        longest = max(len(one), len(other))
        similarity = 1 - edit_distance(one, other) / longest if longest else 1.0
        return similarity if similarity >= ALIKE else 0.0

    def eval_pred_list(self, pred_list: Sequence[Entry]) -> float:
        """The mean of each prediction's similarity to the nearest right answer."""
        return _mean(
            max(self.get_anls(entry["pred_answer"], answer) for answer in entry["gt_answers"])
            for entry in _checked(pred_list)
        )


class TextCapsBleu4Evaluator:
    """BLEU-4 of captions, by `pycocoevalcap`, which needs Java and is no part of this package.

    Raises:
        ImportError: where it is not installed.
    """

    def __init__(self) -> None:
        try:
            from pycocoevalcap.bleu.bleu import Bleu
            from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
        except ImportError as error:
            raise ImportError(
                "TextCapsBleu4Evaluator needs pycocoevalcap and Java; pip install pycocoevalcap"
            ) from error
        self.tokenizer, self.scorer = PTBTokenizer(), Bleu(4)

    def eval_pred_list(self, pred_list: Sequence[Entry]) -> float:
        """BLEU-4 of all captions together."""
        entries = _checked(pred_list)
        right = {at: [{"caption": text} for text in entry["gt_answers"]] for at, entry in enumerate(entries)}
        said = {at: [{"caption": entry["pred_answer"]}] for at, entry in enumerate(entries)}
        scores, _ = self.scorer.compute_score(self.tokenizer.tokenize(right), self.tokenizer.tokenize(said))
        return scores[3]


def edit_distance(one: str, other: str) -> int:
    """Levenshtein's distance: characters to insert, delete or replace to make one text of the other."""
    row = list(range(len(other) + 1))
    for at, sign in enumerate(one, 1):
        before, row = row, [at]
        for column, against in enumerate(other):
            row.append(min(before[column + 1] + 1, row[column] + 1, before[column] + (sign != against)))
    return row[-1]


def _checked(pred_list: Sequence[Entry]) -> list[Entry]:
    entries = list(pred_list)
    if not entries:
        raise InputError("a score needs predictions: got an empty list")
    for entry in entries:
        if not isinstance(entry.get("pred_answer"), str) or not entry.get("gt_answers"):
            raise InputError(f"a prediction has pred_answer, a text, and gt_answers, not empty: got {shown(entry)}")
    return entries


def _mean(scores: Iterable[float]) -> float:
    values = list(scores)
    return sum(values) / len(values)
