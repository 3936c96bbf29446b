"""Score VizWiz where the answers are public (val): overall, by answer type, and whether it knows what has no answer.

    python -m llava.eval.eval_vizwiz --annotation-file val.json --question-file QUESTIONS.jsonl \\
        --result-file ANSWERS.jsonl

The result file is an answers file, whose texts are then normalised as in an upload file first, or an upload file,
which needs no question file. The rule is that of the public copies of VizWiz's evaluator: as VQAv2's, but predictions
are always normalised and the annotators' answers never. For test see `scripts/convert_vizwiz_for_submission.py`.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from llava.errors import InputError
from llava.eval.benchmarks.vqa import (
    Key,
    answers_of,
    check_annotations,
    check_answered,
    check_known,
    is_upload,
    read_predictions,
    read_questions,
    read_upload,
)
from llava.eval.benchmarks.vqa_report import by_kind, per_cent, report
from llava.eval.benchmarks.vqa_text import normalise_official, soft_accuracy
from llava.eval.results.scores import print_scores, ratio
from llava.eval.runs.command import Parser, run
from llava.files.reading import read_json

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


def read_images(question_file: str) -> dict[Key, str]:
    """Image names by question id; VizWiz asks once about every image."""
    lines = read_questions(question_file, "image")
    images = {line["question_id"]: line["image"] for line in lines}
    if len(set(images.values())) != len(lines):
        raise InputError(
            f"VizWiz asks once about every image: '{question_file}' repeats a question_id or an image; remove it"
        )
    return images


def labels_of(records: Iterable[dict[str, Any]], path: str) -> np.ndarray:
    """(N,) 1 where the annotators found a question unanswerable, else 0."""
    answerable = [record["answerable"] for record in records]
    strange = [value for value in answerable if value not in (0, 1)]
    if strange:
        raise InputError(f"answerable must be 0 or 1: '{path}' has {strange[0]!r}; fetch the file again")
    return 1 - np.array(answerable)


def read_answered(result_file: str, question_file: str | None) -> dict[Key, str]:
    """Predictions by image name, from an upload file or from an answers file and its question file."""
    if is_upload(result_file):
        return read_upload(result_file, "image")
    if not question_file:
        raise InputError(
            f"an answers file does not name images: '{result_file}' is one; give its questions as --question-file"
        )
    images = read_images(question_file)
    predictions = read_predictions(result_file)
    check_known(predictions, images, result_file, question_file)
    return {images[question_id]: text for question_id, text in predictions.items()}


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.eval_vizwiz", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--annotation-file", required=True, help="val.json")
    parser.add_argument("--question-file", help="JSON lines with question_id and image; only these are scored")
    parser.add_argument("--result-file", required=True, help="answers file, or upload file")
    args = parser.parse_args()

    records = read_json(args.annotation_file, "VizWiz's annotations")
    records = check_annotations(records, ("image", "answer_type", "answerable"), args.annotation_file)
    truth: dict[Key, dict[str, Any]] = {record["image"]: record for record in records}
    if args.question_file:
        asked = list(read_images(args.question_file).values())
        check_known(asked, truth, args.question_file, args.annotation_file)
        truth = {image: truth[image] for image in asked}
    predictions = read_answered(args.result_file, args.question_file)
    check_known(predictions, truth, args.result_file, args.question_file or args.annotation_file)
    check_answered(truth, predictions, args.result_file)

    scores = [accuracy(predictions[image], answers_of(record, args.annotation_file)) for image, record in truth.items()]
    overall, answer_types = per_cent(scores), by_kind((record["answer_type"] for record in truth.values()), scores)
    # The official task takes a confidence, an answers file has none: saying "unanswerable" counts as 1, all else as 0.
    labels = labels_of(truth.values(), args.annotation_file)
    said = np.array([float(normalise_official(predictions[image]) == UNANSWERABLE) for image in truth])
    known = {"average precision": 100 * average_precision(labels, said), "F1": 100 * f1(labels, said)}
    print(report(overall, {"Answer Type": answer_types}))
    print("Unanswerability:", *(f"{name} {value:.2f}" for name, value in known.items()), end="\n\n")
    details = {"questions": len(scores), "answer_types": answer_types, "unanswerability": known}
    print_scores("vizwiz", "soft accuracy", overall, **details)


if __name__ == "__main__":
    run(main)
