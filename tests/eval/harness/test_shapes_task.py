"""The shapes benchmark as tasks of lmms-eval; that lmms-eval reads them is seen in `test_lmms_llava.py`."""

import json
import re
from pathlib import Path

import pytest
from commands import call
from lmms_runs import SHAPES

from llava.errors import InputError
from llava.eval.eval_shapes import is_right
from llava.eval.harness.shapes_task import EXACT, records, task

FILES = (str(SHAPES / "questions.jsonl"), str(SHAPES / "answers.jsonl"), str(SHAPES / "images"))


def test_every_question_is_a_row_with_its_picture_and_its_kinds_answers() -> None:
    rows = records(*FILES)
    assert len(rows) == 2119 and rows[0]["answer"] == "cross" and rows[0]["category"] == "shape"
    assert rows[0]["image"]["bytes"] == (SHAPES / "images" / "00000.png").read_bytes()
    assert all(row["answer"] in row["choices"] for row in rows)
    assert {len(row["choices"]) for row in rows if row["category"] == "existence"} == {2}


def test_answers_of_other_questions_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "questions.jsonl"
    other.write_text(json.dumps({"question_id": "x", "image": "00000.png", "text": "?"}) + "\n")
    with pytest.raises(InputError, match="'x'"):
        records(str(other), *FILES[1:])


def test_a_task_is_data_alone(tmp_path: Path) -> None:
    """JSON, which is YAML too: no tag by which lmms-eval would import a function."""
    made = task(tmp_path / "shapes.parquet", "shapes", output_type="generate_until")
    assert json.loads(json.dumps(made)) == made
    assert made["dataset_kwargs"]["data_files"]["test"] == str(tmp_path / "shapes.parquet")


def test_a_picture_that_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    ended = call("harness.shapes_task", capsys, "--output", tmp_path / "out", "--image-folder", tmp_path)
    assert ended.code == 2 and "00000.png" in ended.err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("said", ["Cross", "cross.", " cross . ", "crosses"])
def test_the_metric_counts_what_the_scorer_counts(said: str) -> None:
    compared = said
    for sign in EXACT["regexes_to_ignore"]:
        compared = re.sub(sign, "", compared)
    assert (compared.lower() == "cross") == is_right(said, "cross")
