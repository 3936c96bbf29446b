"""Score POPE: yes or no to "Is there a ... in the image?", three categories, the mean of their F1.

    python -m llava.eval.eval_pope --annotation-dir coco --question-file llava_pope_test.jsonl \\
        --result-file ANSWERS.jsonl

The rule and the printed form are those of LLaVA's `eval_pope.py`. Like it, answers and labels are paired by their
position unless told otherwise; unlike it, a pair whose image or text differ is reported.
"""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llava.errors import InputError
from llava.eval.files import read_answers, read_jsonl
from llava.eval.results.scores import print_scores, ratio
from llava.eval.runs.command import Parser, run

PREFIX, SUFFIX = "coco_pope_", ".json"
TEXTS = ("image", "text")


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
    words = text.split(".")[0].replace(",", "").split(" ")
    return not {"No", "not", "no"} & set(words)


def count(answers: list[bool], labels: list[bool]) -> Counts:
    """Compare answers with labels, True for yes; the shorter list decides."""
    pairs = list(zip(answers, labels))
    return Counts(*(pairs.count(pair) for pair in ((True, True), (True, False), (False, False), (False, True))))


def key_of(record: dict[str, Any]) -> tuple[str, str]:
    """What identifies a question across files: image and first line, a misspelling of the published file mended."""
    return record["image"], record["text"].split("\n")[0].replace("imange", "image")


def report(category: str, said: list[bool], counts: Counts) -> str:
    """The official lines for a category; `said` are all its answers, also those without a label to compare with."""
    yes_ratio = ratio(sum(said), len(said))
    values = (counts.f1, counts.accuracy, counts.precision, counts.recall, yes_ratio)
    return "\n".join(
        [
            f"Category: {category}, # samples: {len(said)}",
            "TP\tFP\tTN\tFN\t",
            f"{counts.tp}\t{counts.fp}\t{counts.tn}\t{counts.fn}",
            f"Accuracy: {counts.accuracy}",
            f"Precision: {counts.precision}",
            f"Recall: {counts.recall}",
            f"F1 score: {counts.f1}",
            f"Yes ratio: {yes_ratio}",
            ", ".join(f"{value:.3f}" for value in values),
            "=" * 20,
        ]
    )


def read_labels(folder: str) -> dict[str, list[dict[str, Any]]]:
    """The annotations of each category, by the names of the files; categories in alphabetical order."""
    files = sorted(Path(folder).glob("*"))
    other = [file.name for file in files if not (file.name.startswith(PREFIX) and file.name.endswith(SUFFIX))]
    if other or not files:
        raise InputError(
            f"POPE's annotation folder holds {PREFIX}CATEGORY{SUFFIX} files only: '{folder}' has "
            f"{other[0] if other else 'no file'}; fetch the three files of POPE's commit e3e39262"
        )
    keys = ("image", "text", "label")
    return {
        file.name[len(PREFIX) : -len(SUFFIX)]: [
            record for _, record in read_jsonl(str(file), keys, "POPE's labels", TEXTS)
        ]
        for file in files
    }


def pair(
    labels: list[dict[str, Any]], asked: list[dict[str, Any]], answers: list[bool], by_text: bool
) -> tuple[list[bool], list[bool], int]:
    """Answers and labels in one order, and how many labels and answers have no partner or a wrong one.

    By text, what has no partner is left out.
    """
    truth = [record["label"] != "no" for record in labels]
    if by_text:
        label_of = dict(zip(map(key_of, labels), truth))
        known = [(said, label_of[key]) for key, said in zip(map(key_of, asked), answers) if key in label_of]
        lonely = len(labels) + len(asked) - 2 * len(known)
        return [said for said, _ in known], [label for _, label in known], lonely
    strangers = sum(key_of(label) != key_of(question) for label, question in zip(labels, asked))
    return answers, truth, strangers + abs(len(labels) - len(asked))


def read_asked(path: str) -> dict[Any, dict[str, Any]]:
    """POPE's questions by id; InputError for an id that comes twice."""
    asked: dict[Any, dict[str, Any]] = {}
    for where, line in read_jsonl(path, ("question_id", "image", "text", "category"), "a question file", TEXTS):
        if line["question_id"] in asked:
            raise InputError(f"a question_id of POPE comes once: {where} has {line['question_id']!r} again; remove it")
        asked[line["question_id"]] = line
    return asked


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.eval_pope", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--annotation-dir", required=True, help="folder of coco_pope_*.json")
    parser.add_argument("--question-file", required=True, help="llava_pope_test.jsonl")
    parser.add_argument("--result-file", required=True, help="answers file")
    parser.add_argument("--pair-by", choices=("position", "text"), default="position", help="answers with labels")
    args = parser.parse_args()

    questions = read_asked(args.question_file)
    answers = read_answers(args.result_file)
    strange = next((question_id for question_id in answers if question_id not in questions), None)
    if strange is not None:
        raise InputError(
            f"answers must be those to the question file: '{args.result_file}' answers {strange!r}, which "
            f"'{args.question_file}' does not ask; give the file they were made with"
        )
    results, mismatches = {}, 0
    for category, labels in read_labels(args.annotation_dir).items():
        asked = [questions[question_id] for question_id in answers if questions[question_id]["category"] == category]
        said = [says_yes(answers[question["question_id"]]["text"]) for question in asked]
        paired, truth, wrong = pair(labels, asked, said, args.pair_by == "text")
        results[category] = count(paired, truth)
        mismatches += wrong
        print(report(category, said, results[category]))
        if wrong:
            hint = "the score is not POPE's; use --pair-by text" if args.pair_by == "position" else "they are left out"
            what = f"{category}: {wrong} of {len(labels)} labels and {len(asked)} answers are not paired rightly"
            print(f"WARNING: {what}; {hint}", file=sys.stderr)
    score = 100 * sum(counts.f1 for counts in results.values()) / len(results)
    details = {
        name: asdict(counts) | {"accuracy": counts.accuracy, "f1": counts.f1} for name, counts in results.items()
    }
    print_scores("pope", "mean F1", score, mismatches=mismatches, categories=details)


if __name__ == "__main__":
    run(main)
