"""VizWiz's files: annotations by picture, the names of pictures in a question file, answers in either form."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from llava.errors import InputError, shown
from llava.eval.benchmarks.answers import check_known
from llava.eval.benchmarks.vqa import (
    annotations_by,
    check_annotations,
    is_upload,
    read_predictions,
    read_questions,
    read_upload,
)
from llava.files.reading import read_json

KEYS = ("image", "answer_type", "answerable")


def read_truth(path: str) -> dict[str, dict[str, Any]]:
    """The annotations of `val.json` by the picture's name; InputError as `check_annotations`."""
    return annotations_by("image", check_annotations(read_json(path, "VizWiz's annotations"), KEYS, path), path)


def read_images(question_file: str) -> dict[str, str]:
    """Image names by question id; VizWiz asks once about every image."""
    lines = read_questions(question_file, "image")
    images = {str(line["question_id"]): str(line["image"]) for line in lines}
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
        raise InputError(f"answerable must be 0 or 1: '{path}' has {shown(strange[0])}; fetch the file again")
    return 1 - np.array(answerable)


def read_answered(result_file: str, question_file: str | None) -> dict[str, str]:
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
