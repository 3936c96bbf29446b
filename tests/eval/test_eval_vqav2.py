"""VQAv2's official rule on a split with public answers: cases by hand, the printed form, and complaints."""

import json
from pathlib import Path

import published
import pytest

from llava.eval import eval_vqav2
from llava.eval.eval_vqav2 import accuracy
from llava.eval.runs.command import run

# Answers, their kinds, and predictions worth 1, 0.6, 0.3 and 0.
TRUTH = [
    (["yes"] * 10, "is the", "yes/no"),
    (["2"] * 2 + ["Three"] * 8, "how many", "number"),
    (["red"] + ["blue"] * 9, "what color is the", "other"),
    (["no"] * 10, "is the", "yes/no"),
]
TEXTS = ["Yes", "two", "Red.", "none"]


@pytest.fixture
def vqav2(tmp_path: Path) -> Path:
    """A folder with annotations, questions and answers as of val2014."""
    annotations = [
        {
            "question_type": question_type,
            "multiple_choice_answer": answers[-1],
            "answers": [{"answer": a, "answer_confidence": "yes", "answer_id": n + 1} for n, a in enumerate(answers)],
            "image_id": 262148,
            "answer_type": answer_type,
            "question_id": 262148000 + number,
        }
        for number, (answers, question_type, answer_type) in enumerate(TRUTH)
    ]
    published.write_json(tmp_path / "annotations.json", {"info": {}, "license": {}, "annotations": annotations})
    image = "COCO_val2014_000000262148.jpg"
    asked = [published.question(262148000 + number, image, "What?") for number in range(4)]
    published.lines(tmp_path / "questions.jsonl", asked)
    published.lines(tmp_path / "answers.jsonl", [answer(number, text) for number, text in enumerate(TEXTS)])
    return tmp_path


def answer(number: int, text: object) -> dict:
    """A line of an answers file."""
    return {"question_id": 262148000 + number, "prompt": "What?", "text": text}


def score(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *more: str, result: str = "answers.jsonl", part: bool = False
) -> None:
    """Run the command on the folder."""
    command = ["eval_vqav2", "--annotation-file", str(folder / "annotations.json")]
    questions = ["--question-file", str(folder / "questions.jsonl")] if part else []
    monkeypatch.setattr("sys.argv", [*command, *questions, "--result-file", str(folder / result), *more])
    run(eval_vqav2.main)


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        ("Yes.", ["yes"] * 10, 0.0),  # all alike: compared raw
        (" yes\n", ["yes "] * 9 + ["\tyes"], 1.0),  # alike but for what is stripped
        ("a\nb", ["a b"] * 10, 1.0),
        ("Yes.", ["yes"] * 9 + ["Yes"], 1.0),  # not all alike: normalised
        ("the cat", ["Cat!"] * 3 + ["dog"] * 7, 0.9),
        ("red,blue", ["red blue"] * 2 + ["x"] * 8, 0.6),  # the official variant, not m4c
        ("it's", ["it 's"] * 9 + ["x"], 0.0),
        ("", ["a", "yes"] + ["x"] * 8, 0.3),  # an article alone is nothing
    ],
)
def test_official_accuracy_of_one_question(prediction: str, answers: list[str], expected: float) -> None:
    assert accuracy(prediction, answers) == expected


def test_scores_and_printed_form(vqav2: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    score(vqav2, monkeypatch)
    out, err = capsys.readouterr()
    assert err == "" and out.startswith(
        "Overall Accuracy is: 47.50\n\n"
        "Per Question Type Accuracy is the following:\n"
        "is the : 50.00\nhow many : 60.00\nwhat color is the : 30.00\n\n"
        "Per Answer Type Accuracy is the following:\n"
        "yes/no : 50.00\nnumber : 60.00\nother : 30.00\n\n{"
    )
    assert json.loads(out.splitlines()[-1]) == {
        "benchmark": "vqav2",
        "metric": "soft accuracy",
        "score": 47.5,
        "questions": 4,
        "missing": 0,
        "undecided": 0,
        "question_types": {"is the": 50.0, "how many": 60.0, "what color is the": 30.0},
        "answer_types": {"yes/no": 50.0, "number": 60.0, "other": 30.0},
    }


def test_upload_file_is_scored_as_it_stands(
    vqav2: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    upload = [{"question_id": 262148003 - n, "answer": text} for n, text in enumerate(reversed(TEXTS))]
    published.write_json(vqav2 / "upload.json", upload)
    score(vqav2, monkeypatch, result="upload.json")
    # "Yes" is not normalised when everybody said "yes"; an answers file is, on its way to the upload.
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["score"] == 22.5


def test_question_file_chooses_a_part(
    vqav2: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for name in ("questions.jsonl", "answers.jsonl"):
        rows = (vqav2 / name).read_text().splitlines(keepends=True)
        (vqav2 / name).write_text("".join(rows[1:3]))
    score(vqav2, monkeypatch, part=True)
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["score"], last["questions"], last["answer_types"]) == (45.0, 2, {"number": 60.0, "other": 30.0})


def test_means_are_rounded_to_two_digits(
    vqav2: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for name in ("questions.jsonl", "answers.jsonl"):
        rows = (vqav2 / name).read_text().splitlines(keepends=True)
        (vqav2 / name).write_text("".join([rows[0], rows[2], rows[3]]))
    score(vqav2, monkeypatch, part=True)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["score"] == 43.33


def _annotations(folder: Path, **changes: object) -> None:
    content = json.loads((folder / "annotations.json").read_text())
    content["annotations"][1] |= changes
    (folder / "annotations.json").write_text(json.dumps(content))


def _answers(folder: Path, *records: dict) -> None:
    published.lines(folder / "answers.jsonl", list(records))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: _answers(folder, answer(0, "a"), answer(2, "b")), "has none to 2 (262148001, 262148003); run"),
        (lambda folder: _answers(folder, answer(9, "a")), "answers.jsonl' is about 262148009, which is not in"),
        (lambda folder: _answers(folder, answer(0, "a"), answer(0, "a")), "line 2 answers 262148000 again"),
        (lambda folder: _answers(folder, answer(0, 7)), "line 1 has 7; mend it"),
        (lambda folder: _answers(folder, {"question_id": 262148000}), "line 1 lacks text"),
        (lambda folder: (folder / "answers.jsonl").write_text('{"question_id": 1, "te\n'), "line 1 is none"),
        (lambda folder: (folder / "answers.jsonl").write_text(""), "answers.jsonl' is empty"),
        (lambda folder: (folder / "answers.jsonl").write_text('[{"question_id": 1}]'), "item 1 lacks answer"),
        (lambda folder: (folder / "answers.jsonl").write_text('[{"question_id": 1'), "an upload file must be JSON"),
        (lambda folder: (folder / "answers.jsonl").write_text("[]"), "has none to 4 (262148000, 262148001, 262148002,"),
        (
            lambda folder: (folder / "answers.jsonl").write_text(
                json.dumps(2 * [{"question_id": 262148000, "answer": ""}])
            ),
            "item 2 repeats 262148000",
        ),
        (lambda folder: (folder / "answers.jsonl").unlink(), "a result file must be readable"),
        (lambda folder: (folder / "annotations.json").write_text('{"questions": []}'), "annotations.json' holds none"),
        (lambda folder: (folder / "annotations.json").write_text('{"annotations": [{}]}'), "question 1 lacks question"),
        (lambda folder: _annotations(folder, answers=[]), "question 2 has []"),
        (lambda folder: _annotations(folder, answers=["red"]), "annotations.json' has ['red']"),
        (lambda folder: _annotations(folder, question_id=[1]), "question 2 has [1]"),
        (
            lambda folder: published.lines(folder / "questions.jsonl", [{"question_id": 5}]),
            "questions.jsonl' is about 5, which is not in",
        ),
        (lambda folder: published.lines(folder / "questions.jsonl", [{"question_id": {}}]), "line 1 has {}"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    vqav2: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, spoil: object, complaint: str
) -> None:
    spoil(vqav2)
    with pytest.raises(SystemExit) as stopped:
        score(vqav2, monkeypatch, part=True)
    err = capsys.readouterr().err
    assert stopped.value.code == 2 and complaint in err and err.count("\n") == 1
