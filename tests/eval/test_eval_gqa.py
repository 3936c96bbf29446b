"""GQA's prediction file to the byte, its printed form, and complaints."""

import json
from collections.abc import Callable
from pathlib import Path

import published
import pytest
from commands import Outcome, call, call_script

TEXTS = ["Red.", "Yes", "yes", "left...", "A. b"]
RIGHT = {"structural type": {"choose": 100.0, "compare": 0.0, "logical": 0.0, "query": 100.0, "verify": 100.0}}


@pytest.fixture
def gqa(tmp_path: Path) -> Path:
    """The benchmark's folder with answers, three of five right."""
    published.gqa(tmp_path)
    answer(tmp_path / "gqa", TEXTS)
    return tmp_path / "gqa"


def answer(folder: Path, texts: list[str]) -> None:
    """Write an answers file: `texts` to the first questions."""
    records = [{"question_id": f"20130725{n}", "prompt": "?", "text": text} for n, text in enumerate(texts)]
    published.lines(folder / "merge.jsonl", records)


def convert(folder: Path, capsys: pytest.CaptureFixture) -> Outcome:
    """The converter on the answers."""
    prediction_file = folder / "new/testdev_balanced_predictions.json"
    return call_script("convert_gqa_for_eval", capsys, "--src", folder / "merge.jsonl", "--dst", prediction_file)


def evaluate(folder: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    """The scorer on the predictions."""
    files = (folder / "data/testdev_balanced_questions.json", folder / "new/testdev_balanced_predictions.json")
    return call("eval_gqa", capsys, "--questions", files[0], "--predictions", files[1], *more)


def test_prediction_file_to_the_byte(gqa: Path, capsys: pytest.CaptureFixture) -> None:
    answer(gqa, ["Red...", "A.B c.", "ÜBER", " Yes. "])
    assert convert(gqa, capsys) == Outcome(0, "", "")
    assert (gqa / "new/testdev_balanced_predictions.json").read_bytes() == (
        b'[{"questionId": "201307250", "prediction": "red"}, {"questionId": "201307251", "prediction": "a.b c"}, '
        b'{"questionId": "201307252", "prediction": "\\u00fcber"}, {"questionId": "201307253", "prediction": " yes. "}]'
    )


def test_converter_reports_repeated_questions_and_the_scorer_refuses_them(
    gqa: Path, capsys: pytest.CaptureFixture
) -> None:
    rows = (gqa / "merge.jsonl").read_text()
    (gqa / "merge.jsonl").write_text(rows + rows.splitlines()[0] + "\n")
    done = convert(gqa, capsys)
    assert done.err == "WARNING: 1 questions have several answers, all are written: 201307250"
    assert len(json.loads((gqa / "new/testdev_balanced_predictions.json").read_text())) == 6
    refused = evaluate(gqa, capsys)
    assert refused.code == 2 and "item 6 repeats 201307250" in refused.err and "\n" not in refused.err


def test_printed_form_and_last_line(gqa: Path, capsys: pytest.CaptureFixture) -> None:
    convert(gqa, capsys)
    done = evaluate(gqa, capsys)
    lines = done.out.splitlines()
    assert lines[:-1] == [
        *("Binary: 50.00%", "Open: 100.00%", "Accuracy: 60.00%", "Distribution: 0.00 (lower is better)", ""),
        "Accuracy / structural type:",
        *("  choose: 100.00% (1 questions)", "  compare: 0.00% (1 questions)", "  logical: 0.00% (1 questions)"),
        *("  query: 100.00% (1 questions)", "  verify: 100.00% (1 questions)", ""),
        "Accuracy / semantic type:",
        *("  attr: 100.00% (1 questions)", "  cat: 100.00% (1 questions)", "  obj: 50.00% (2 questions)"),
        *("  rel: 0.00% (1 questions)", "", "Accuracy / steps number:", "  1: 60.00% (5 questions)", ""),
        *("Accuracy / words number:", "  4: 60.00% (5 questions)", ""),
    ]
    assert json.loads(lines[-1]) == {
        **{"benchmark": "gqa", "metric": "accuracy", "score": 60.0, "binary": 50.0, "open": 100.0},
        **{"consistency": None, "distribution": 0.0, "questions": 5, "missing": 0, "undecided": 0},
        **RIGHT,
        "semantic type": {"attr": 100.0, "cat": 100.0, "obj": 50.0, "rel": 0.0},
        **{"steps number": {"1": 60.0}, "words number": {"4": 60.0}},
    }


def test_tier_names_both_files_and_folders_of_parts_are_read(
    gqa: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(gqa, capsys)
    monkeypatch.chdir(gqa / "data")
    (gqa / "new/testdev_balanced_predictions.json").rename("testdev_balanced_predictions.json")
    whole = call("eval_gqa", capsys, "--tier", "testdev_balanced")
    for name in ("questions", "predictions"):
        content = json.loads(Path(f"testdev_balanced_{name}.json").read_text())
        for part in range(2):
            half = dict(list(content.items())[part::2]) if name == "questions" else content[part::2]
            published.write_json(Path(f"{name}/testdev_balanced_{name}_{part}.json"), half)
    parts = call("eval_gqa", capsys, "--questions", "questions", "--predictions", "predictions")
    assert whole.code == parts.code == 0 and whole.out == parts.out and '"score": 60.0' in whole.out


def test_consistency_is_refused_where_it_cannot_be_scored(gqa: Path, capsys: pytest.CaptureFixture) -> None:
    path = gqa / "data/testdev_balanced_questions.json"
    content = json.loads(path.read_text())
    content["201307250"]["entailed"] = ["201307250", "777", "201307251"]
    published.write_json(path, content)
    convert(gqa, capsys)
    assert json.loads(evaluate(gqa, capsys).out.splitlines()[-1])["consistency"] is None
    refused = evaluate(gqa, capsys, "--consistency")
    assert refused.code == 2 and "1 are not (777); ask" in refused.err and "\n" not in refused.err
    content["201307250"]["entailed"].remove("777")
    published.write_json(path, content)
    assert "Consistency: 100.00%\n" in evaluate(gqa, capsys, "--consistency").out


def _predictions(folder: Path, *items: object) -> None:
    published.write_json(folder / "new/testdev_balanced_predictions.json", list(items))


def _questions(folder: Path, **changes: object) -> None:
    path = folder / "data/testdev_balanced_questions.json"
    content = json.loads(path.read_text())
    content["201307251"] |= changes
    published.write_json(path, content)


def _write(name: str, content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(content) and None


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: _predictions(folder, {"questionId": "2013", "prediction": "x"}), "is about 2013, which is"),
        (lambda folder: _predictions(folder), "has none to 5 (201307250, 201307251, 201307252, ...)"),
        (lambda folder: _predictions(folder, {"questionId": "201307250"}), "item 1 lacks prediction"),
        (_write("new/testdev_balanced_predictions.json", '[{"questionId": "2013'), "predictions must be JSON"),
        (_write("new/testdev_balanced_predictions.json", '{"2013": "x"}'), "predictions are a list"),
        (lambda folder: (folder / "new/testdev_balanced_predictions.json").unlink(), "predictions must be readable"),
        (lambda folder: (folder / "data/testdev_balanced_questions.json").unlink(), "questions must be readable"),
        (_write("data/testdev_balanced_questions.json", "[]"), "questions are one object by id"),
        (_write("data/testdev_balanced_questions.json", '{"1": {}}'), "question 1 has not (KeyError"),
        (_write("data/testdev_balanced_questions.json", "{}"), "balanced_questions.json' has none"),
        (lambda folder: _questions(folder, answer=None), "question 201307251 has not (TypeError: None is no text)"),
        (lambda folder: _questions(folder, groups={}), "question 201307251 has not (KeyError: 'global')"),
        (lambda folder: _questions(folder, groups={"global": []}), "question 201307251 has not (TypeError: [] is no"),
        (lambda folder: _questions(folder, entailed="1"), "question 201307251 has not (TypeError: '1' is no list)"),
        (lambda folder: _questions(folder, isBalanced="false"), "(TypeError: 'false' is neither true nor false)"),
        (lambda folder: _questions(folder, question=3), "question 201307251 has not (AttributeError"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    gqa: Path, capsys: pytest.CaptureFixture, spoil: Callable[[Path], None], complaint: str
) -> None:
    convert(gqa, capsys)
    spoil(gqa)
    refused = evaluate(gqa, capsys)
    assert refused.code == 2 and complaint in refused.err and "\n" not in refused.err and refused.out == ""


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"question_id": "1", "text": "a"}\n{"question_id": "2", "te\n', "merge.jsonl line 2 is none"),
        ('{"question_id": "1"}\n', "line 1 lacks text"),
        ('{"question_id": "1", "text": null}\n', "line 1 has None"),
        ('{"question_id": {}, "text": ""}\n', "line 1 has {}"),
        ("", "merge.jsonl' is empty"),
    ],
)
def test_converter_refuses_bad_answers_and_writes_nothing(
    gqa: Path, capsys: pytest.CaptureFixture, content: str, complaint: str
) -> None:
    (gqa / "merge.jsonl").write_text(content)
    refused = convert(gqa, capsys)
    assert refused.code == 2 and complaint in refused.err and "\n" not in refused.err
    assert not (gqa / "new").exists()
