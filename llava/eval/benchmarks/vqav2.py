"""VQAv2's files: the annotations of a split with public answers. Questions and uploads: `vqa`, `vqa_upload`."""

from typing import Any

from llava.eval.benchmarks.vqa import annotations_by, check_annotations
from llava.files.reading import read_json

KEYS = ("question_id", "question_type", "answer_type")


def read_truth(path: str) -> dict[str, dict[str, Any]]:
    """The annotations of `v2_mscoco_val2014_annotations.json` by question id; InputError as `check_annotations`."""
    content = read_json(path, "VQAv2's annotations")
    records = content.get("annotations") if isinstance(content, dict) else None
    return annotations_by("question_id", check_annotations(records, KEYS, path), path)
