"""MM-Vet's file to be graded: its bytes, and what is reported or refused."""

from pathlib import Path

import published
import pytest
from commands import Outcome, call_script


def convert(folder: Path, capsys: pytest.CaptureFixture, texts: list[tuple[object, object]], asked: bool) -> Outcome:
    """The converter on answers, with or without the question file, into a folder that is not there yet."""
    published.mmvet(folder)
    published.lines(folder / "run.jsonl", [{"question_id": name, "prompt": "?", "text": text} for name, text in texts])
    flags = ("--question-file", folder / "mm-vet/llava-mm-vet.jsonl") if asked else ()
    files = ("--src", folder / "run.jsonl", "--dst", folder / "results/run.json")
    return call_script("convert_mmvet_for_eval", capsys, *files, *flags)


@pytest.mark.parametrize("asked", [True, False])
def test_file_to_the_byte(tmp_path: Path, capsys: pytest.CaptureFixture, asked: bool) -> None:
    done = convert(tmp_path, capsys, [(0, "Two.\nYes"), (2, "é"), (1, "")], asked)
    assert done == Outcome(0, "", "WARNING: 1 answers are empty: 1")
    assert (tmp_path / "results/run.json").read_bytes() == (
        b'{\n  "v1_0": "Two.\\nYes",\n  "v1_2": "\\u00e9",\n  "v1_1": ""\n}'
    )


def test_the_last_of_several_answers_counts_and_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    done = convert(tmp_path, capsys, [(0, "a"), (1, "b"), (0, "c")], asked=False)
    assert done.err == "WARNING: 1 questions have several answers, the last one counts: 0"
    assert (tmp_path / "results/run.json").read_text() == '{\n  "v1_0": "c",\n  "v1_1": "b"\n}'


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        ([(0, "a"), (2, "c")], "run.jsonl' has none to 1 (1); run"),
        ([(0, "a"), (1, "b"), (2, "c"), (3, "d")], "run.jsonl' is about 3, which is not in"),
        ([(0, "a"), (1, 5)], "line 2 has 5; mend it"),
        ([(0, "a"), (None, "b")], "line 2 has None"),
        ([], "run.jsonl' is empty"),
    ],
)
def test_bad_answers_are_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture, texts: list[tuple[object, object]], complaint: str
) -> None:
    refused = convert(tmp_path, capsys, texts, asked=True)
    assert refused.code == 2 and complaint in refused.err and "\n" not in refused.err
    assert not (tmp_path / "results").exists()


def test_torn_or_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    files = ("--src", tmp_path / "run.jsonl", "--dst", tmp_path / "run.json")
    assert "an answers file must be readable" in call_script("convert_mmvet_for_eval", capsys, *files).err
    (tmp_path / "run.jsonl").write_text('{"question_id": 0, "text": "a"}\n{"question_id": 1, "te')
    refused = call_script("convert_mmvet_for_eval", capsys, *files)
    assert refused.code == 2 and "run.jsonl line 2 is none" in refused.err and not (tmp_path / "run.json").exists()
