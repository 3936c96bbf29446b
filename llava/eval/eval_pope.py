"""Score POPE: yes or no to "Is there a ... in the image?", three categories, the mean of their F1.

    python -m llava.eval.eval_pope --annotation-dir coco --question-file llava_pope_test.jsonl \\
        --result-file ANSWERS.jsonl

The rule and the printed form are those of LLaVA's `eval_pope.py`. Like it, answers and labels are paired by their
position unless told otherwise; unlike it, pairs whose image or text differ are refused, as is a category that is
missing. Where POPE's labels are read: `llava/eval/benchmarks/pope.py`.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from llava.errors import InputError, shown
from llava.eval.benchmarks.answers import check_known, is_skipped, read_by_id, warn
from llava.eval.benchmarks.options import add_answers_options
from llava.eval.benchmarks.pope import (
    check_categories,
    check_complete,
    pair_by_text,
    read_asked,
    read_category,
    read_labels,
    strangers,
    yes_or_no,
)
from llava.eval.results.scores import print_scores, ratio
from llava.eval.runs.command import Parser, run

NO = {"No", "not", "no"}


@dataclass(frozen=True)
class Counts:
    """True and false, positives and negatives; positive is yes. Ratios with nothing to divide by are 0."""

    tp: int
    fp: int
    tn: int
    fn: int

    @property
    def total(self) -> int:
        return self.tp + self.fp + self.tn + self.fn

    @property
    def accuracy(self) -> float:
        return ratio(self.tp + self.tn, self.total)

    @property
    def precision(self) -> float:
        return ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        return ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        return ratio(2 * self.precision * self.recall, self.precision + self.recall)


def says_yes(text: str) -> bool:
    """What an answer means: no, if the first sentence has the word No, no or not between single spaces; else yes."""
    return not NO & _words(text)


def is_undecided(text: str) -> bool:
    """Whether an answer counts as yes only because it is no no: it has no word yes either."""
    words = _words(text)
    return not NO & words and not any(word.strip("\"'!?:;()").lower() == "yes" for word in words)


def _words(text: str) -> set[str]:
    return set(text.split(".")[0].replace(",", "").split(" "))


def count(answers: list[bool], labels: list[bool]) -> Counts:
    """Compare answers with labels, True for yes; the shorter list decides."""
    pairs = list(zip(answers, labels))
    return Counts(*(pairs.count(pair) for pair in ((True, True), (True, False), (False, False), (False, True))))


def lines_of(counts: Counts, yes_ratio: float) -> list[str]:
    """The official lines below the name of a category."""
    values = (counts.f1, counts.accuracy, counts.precision, counts.recall, yes_ratio)
    return [
        "TP\tFP\tTN\tFN\t",
        f"{counts.tp}\t{counts.fp}\t{counts.tn}\t{counts.fn}",
        f"Accuracy: {counts.accuracy}",
        f"Precision: {counts.precision}",
        f"Recall: {counts.recall}",
        f"F1 score: {counts.f1}",
        f"Yes ratio: {yes_ratio}",
        ", ".join(f"{value:.3f}" for value in values),
    ]


def report(category: str, said: Sequence[bool], counts: Counts) -> str:
    """The official lines for a category; `said` are all its answers, also those without a label to compare with."""
    head = f"Category: {category}, # samples: {len(said)}"
    return "\n".join([head, *lines_of(counts, ratio(sum(said), len(said))), "=" * 20])


def eval_pope(answers: Sequence[dict[str, Any]], label_file: str) -> None:
    """LLaVA's function: print the scores of one category.

    Args:
        answers: records with the answer under `text`, in the order of the labels.
        label_file: a `coco_pope_CATEGORY.json`.

    Raises:
        InputError: where there is not one answer for every label.
    """
    labels = [record["label"] == "yes" for record in read_category(label_file)]
    if len(answers) != len(labels):
        raise InputError(
            f"POPE needs an answer for every label: got {len(answers)}, expected {len(labels)} as in "
            f"{shown(label_file, 300)}"
        )
    said = [says_yes(answer["text"]) for answer in answers]
    print("\n".join(lines_of(count(said, labels), ratio(sum(said), len(said)))))


def score_category(
    category: str, labels: list[dict[str, Any]], asked: list[dict[str, Any]], said: list[bool], by_text: bool
) -> tuple[Counts, int]:
    """The counts of a category, and how many labels and answers have no partner and are left out.

    Args:
        asked: the questions that are answered, in the order of the answers.
        said: the answers, True for yes.

    Raises:
        InputError: where pairs by position are none, or nothing can be paired by text.
    """
    answers, truth, lonely = pair_by_text(labels, asked, said)
    if not by_text:
        wrong = strangers(labels, asked)
        if wrong:
            hint = "; they can be: give --pair-by text" if answers else "; fetch POPE's commit e3e39262"
            raise InputError(
                f"POPE pairs answers with labels by position: of {category}, {wrong} of {len(labels)} labels and "
                f"{len(asked)} answers are not paired rightly{hint}"
            )
        return count(said, [record["label"] == "yes" for record in labels]), 0
    if not answers:
        raise InputError(
            f"a category of POPE needs answers with labels: of {category}, none of {len(labels)} labels and "
            f"{len(asked)} answers are about the same picture and question; give the files of the same split"
        )
    if lonely:
        what = f"{category}: {lonely} of {len(labels)} labels and {len(asked)} answers have no partner"
        print(f"WARNING: {what}; they are left out", file=sys.stderr)
    return count(answers, truth), lonely


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.eval_pope", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--annotation-dir", required=True, help="folder of coco_pope_*.json")
    parser.add_argument("--question-file", required=True, help="llava_pope_test.jsonl")
    add_answers_options(parser, "left out, the others are paired by text")
    parser.add_argument("--pair-by", choices=("position", "text"), default="position", help="answers with labels")
    args = parser.parse_args()

    labels, questions = read_labels(args.annotation_dir), read_asked(args.question_file)
    check_categories(labels, questions, args.question_file)
    if args.check:
        return
    answers = read_by_id(args.result_file)
    check_known(answers, questions, args.result_file, args.question_file)
    by_text = args.pair_by == "text" or args.allow_missing
    check_complete(questions, answers, args.result_file, not args.allow_missing)
    results, mismatches = {}, 0
    for category in labels:
        names = [name for name in answers if questions[name]["category"] == category]
        asked = [questions[name] for name in names]
        said = yes_or_no(asked, [answers[name] for name in names], labels[category], says_yes)
        results[category], lonely = score_category(category, labels[category], asked, said, by_text)
        mismatches += lonely
        print(report(category, said, results[category]))
    skipped = [name for name, answer in answers.items() if is_skipped(answer)]
    undecided = [name for name, answer in answers.items() if is_undecided(answer["text"]) and name not in skipped]
    warn(f"of {len(answers)} answers have neither yes nor no and count as yes", undecided)
    score = 100 * sum(counts.f1 for counts in results.values()) / len(results)
    details = {
        name: asdict(counts) | {"accuracy": counts.accuracy, "f1": counts.f1} for name, counts in results.items()
    }
    counted = {"mismatches": mismatches, "missing": len(questions) - len(answers), "skipped": len(skipped)}
    counted |= {"undecided": len(undecided)}
    print_scores("pope", "mean F1", score, **counted, categories=details)


if __name__ == "__main__":
    run(main)
