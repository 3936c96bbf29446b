"""Score VizWiz where the answers are public (val): overall, by answer type, and whether it knows what has no answer.

    python -m llava.eval.eval_vizwiz --annotation-file val.json --question-file QUESTIONS.jsonl \\
        --result-file ANSWERS.jsonl

The result file is an answers file, whose texts are then normalised as in an upload file first, or an upload file,
which needs no question file. The rule is that of the public copies of VizWiz's evaluator: as VQAv2's, but predictions
are always normalised and the annotators' answers never. For test see `scripts/convert_vizwiz_for_submission.py`.
"""

import numpy as np

from llava.eval.benchmarks.answers import check_answered, check_known, warn
from llava.eval.benchmarks.options import add_answers_options
from llava.eval.benchmarks.vizwiz import labels_of, read_answered, read_images, read_truth
from llava.eval.benchmarks.vqa import answers_of
from llava.eval.benchmarks.vqa_report import by_kind, per_cent, report
from llava.eval.benchmarks.vqa_text import normalise_official, soft_accuracy
from llava.eval.results.scores import print_scores, ratio
from llava.eval.runs.command import Parser, run

UNANSWERABLE = "unanswerable"


def accuracy(prediction: str, answers: list[str]) -> float:
    """Soft accuracy of one prediction, 0..1; `answers` are compared as they stand."""
    return soft_accuracy(normalise_official(prediction), answers)


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Sum over falling thresholds of (rise in recall) x precision; equal scores pass a threshold together.

    Args:
        labels: (N,) 1 for positive, 0 for negative; 0.0 is returned where none is positive.
        scores: (N,) the higher the more likely positive.
    """
    order = np.argsort(-scores, kind="stable")
    last_of_equals = np.append(np.diff(scores[order]) != 0, True)
    found = np.cumsum(labels[order])[last_of_equals]
    taken = (np.arange(len(scores)) + 1)[last_of_equals]
    gained = np.diff(found, prepend=0)
    return ratio(float(np.sum(gained * found / taken)), float(labels.sum()))


def f1(labels: np.ndarray, said: np.ndarray) -> float:
    """Harmonic mean of precision and recall of (N,) predictions, 1 for positive."""
    return ratio(2 * float(np.sum(labels * said)), float(np.sum(labels) + np.sum(said)))


def know_unanswerable(labels: np.ndarray, said: np.ndarray) -> dict[str, float | None]:
    """How well (N,) predictions of 0 or 1 tell the (N,) unanswerable questions, per cent; None where none is such."""
    if not labels.any():
        return {"average precision": None, "F1": None}
    return {"average precision": 100 * average_precision(labels, said), "F1": 100 * f1(labels, said)}


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.eval_vizwiz", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--annotation-file", required=True, help="val.json")
    parser.add_argument("--question-file", help="JSON lines with question_id and image; only these are scored")
    add_answers_options(parser, result="answers file, or upload file")
    args = parser.parse_args()

    truth = read_truth(args.annotation_file)
    if args.question_file:
        asked = list(read_images(args.question_file).values())
        check_known(asked, truth, args.question_file, args.annotation_file)
        truth = {image: truth[image] for image in asked}
    if args.check:
        return
    predictions = read_answered(args.result_file, args.question_file)
    check_known(predictions, truth, args.result_file, args.question_file or args.annotation_file)
    missing = check_answered(truth, predictions, args.result_file, args.allow_missing)
    truth = {image: record for image, record in truth.items() if image in predictions}
    empty = [image for image in truth if not predictions[image].strip()]
    warn("answers are empty", empty)

    scores = [accuracy(predictions[image], answers_of(record, args.annotation_file)) for image, record in truth.items()]
    overall, answer_types = per_cent(scores), by_kind((record["answer_type"] for record in truth.values()), scores)
    # The official task takes a confidence, an answers file has none: saying "unanswerable" counts as 1, all else as 0.
    said = np.array([float(normalise_official(predictions[image]) == UNANSWERABLE) for image in truth])
    known = know_unanswerable(labels_of(truth.values(), args.annotation_file), said)
    print(report(overall, {"Answer Type": answer_types}))
    shown = [f"{name} {value:.2f}" for name, value in known.items() if value is not None]
    print("Unanswerability:", *(shown or ["no question is unanswerable"]), end="\n\n")
    details = {"questions": len(scores), "missing": len(missing), "undecided": len(empty)}
    print_scores("vizwiz", "soft accuracy", overall, **details, answer_types=answer_types, unanswerability=known)


if __name__ == "__main__":
    run(main)
