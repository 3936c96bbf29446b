"""VizWiz's rule on a split with public answers, its unanswerability task, the printed form, and complaints."""

import json
from pathlib import Path

import numpy as np
import published
import pytest

from llava.eval import eval_vizwiz
from llava.eval.eval_vizwiz import accuracy, average_precision, f1
from llava.eval.runs.command import run

# Answers, answer type, answerable; predictions worth 1, 0.9, 0, 0.3 and 0.
TRUTH = [
    (["unanswerable"] * 10, "unanswerable", 0),
    (["soup"] * 3 + ["unanswerable"] * 7, "unanswerable", 0),
    (["white"] * 10, "other", 1),
    (["2"] + ["3"] * 9, "number", 1),
    (["no"] * 10, "yes/no", 1),
]
TEXTS = ["Unanswerable", "the soup", "unanswerable", "Two.", "yes"]


@pytest.fixture
def vizwiz(tmp_path: Path) -> Path:
    """A folder with annotations, questions and answers as of val."""
    names = [f"VizWiz_val_{number:08d}.jpg" for number in range(5)]
    annotations = [
        {
            "image": name,
            "question": "What is this?",
            "answers": [{"answer_confidence": "yes", "answer": answer} for answer in answers],
            "answer_type": answer_type,
            "answerable": answerable,
        }
        for name, (answers, answer_type, answerable) in zip(names, TRUTH)
    ]
    published.write_json(tmp_path / "val.json", annotations)
    published.lines(
        tmp_path / "questions.jsonl", [published.question(n, name, "What?") for n, name in enumerate(names)]
    )
    published.lines(tmp_path / "answers.jsonl", [{"question_id": n, "text": text} for n, text in enumerate(TEXTS)])
    published.write_json(tmp_path / "upload.json", [{"image": n, "answer": t} for n, t in zip(names, TEXTS)])
    return tmp_path


def score(folder: Path, monkeypatch: pytest.MonkeyPatch, result: str = "answers.jsonl", part: bool = True) -> None:
    """Run the command on the folder."""
    command = ["eval_vizwiz", "--annotation-file", str(folder / "val.json"), "--result-file", str(folder / result)]
    questions = ["--question-file", str(folder / "questions.jsonl")] if part else []
    monkeypatch.setattr("sys.argv", command + questions)
    run(eval_vizwiz.main)


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        ("Yes.", ["yes"] * 10, 1.0),  # normalised although all are alike
        ("yes", ["Yes"] * 10, 0.0),  # but the annotators' answers never are
        ("red, blue", ["red blue"] * 2 + ["red, blue"] * 8, 0.6),
        ("it's", ["it's"] * 3 + ["x"] * 7, 0.9),
    ],
)
def test_only_the_prediction_is_normalised(prediction: str, answers: list[str], expected: float) -> None:
    assert accuracy(prediction, answers) == expected


@pytest.mark.parametrize(
    ("labels", "scores", "expected"),
    [
        ([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], (1 / 1 + 2 / 3) / 2),
        ([0, 1, 1, 0], [0.1, 0.4, 0.35, 0.8], (1 / 2 + 2 / 3) / 2),
        ([1, 1, 0, 0], [1, 0, 1, 0], 0.5 * 1 / 2 + 0.5 * 2 / 4),
        ([0, 1, 1, 1], [1, 0, 0, 0], 3 / 4),
        ([1, 0], [0, 0], 0.5),
        ([1, 1], [0.2, 0.1], 1.0),
        ([0, 0], [1, 0], 0.0),
    ],
)
def test_average_precision_takes_equal_scores_together(labels: list[int], scores: list[float], expected: float) -> None:
    assert average_precision(np.array(labels), np.array(scores, dtype=float)) == pytest.approx(expected, abs=1e-12)
    backwards = average_precision(np.array(labels[::-1]), np.array(scores[::-1], dtype=float))
    assert backwards == pytest.approx(expected, abs=1e-12)


def test_f1_of_unanswerability() -> None:
    assert f1(np.array([1, 1, 1, 0]), np.array([1.0, 1.0, 0.0, 1.0])) == 2 * 2 / (3 + 3)
    assert f1(np.array([0, 0]), np.array([0.0, 0.0])) == f1(np.array([1, 0]), np.array([0.0, 1.0])) == 0.0


@pytest.mark.parametrize(("result", "part"), [("answers.jsonl", True), ("upload.json", False), ("upload.json", True)])
def test_scores_and_printed_form(
    vizwiz: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, result: str, part: bool
) -> None:
    score(vizwiz, monkeypatch, result, part)
    out, err = capsys.readouterr()
    # Said unanswerable: pictures 0 (rightly) and 2; picture 1 is missed. Precision 1/2, recall 1/2; base rate 2/5.
    assert err == "" and out.startswith(
        "Overall Accuracy is: 44.00\n\nPer Answer Type Accuracy is the following:\n"
        "unanswerable : 95.00\nother : 0.00\nnumber : 30.00\nyes/no : 0.00\n\n"
        "Unanswerability: average precision 45.00 F1 50.00\n\n{"
    )
    last = json.loads(out.splitlines()[-1])
    known = last.pop("unanswerability")
    assert known["average precision"] == pytest.approx(100 * (0.5 * 0.5 + 0.5 * 0.4)) and known["F1"] == 50.0
    assert last == {
        "benchmark": "vizwiz",
        "metric": "soft accuracy",
        "score": 44.0,
        "questions": 5,
        "missing": 0,
        "undecided": 0,
        "answer_types": {"unanswerable": 95.0, "other": 0.0, "number": 30.0, "yes/no": 0.0},
    }


def test_question_file_chooses_a_part(
    vizwiz: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for name in ("questions.jsonl", "answers.jsonl"):
        rows = (vizwiz / name).read_text().splitlines(keepends=True)
        (vizwiz / name).write_text("".join(rows[:2]))
    score(vizwiz, monkeypatch)
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["score"], last["questions"]) == (95.0, 2)


def _annotation(folder: Path, **changes: object) -> None:
    records = json.loads((folder / "val.json").read_text())
    records[1] |= changes
    published.write_json(folder / "val.json", records)


def _answers(folder: Path, *records: dict) -> None:
    published.lines(folder / "answers.jsonl", list(records))


def _test_split(folder: Path) -> None:
    records = json.loads((folder / "val.json").read_text())
    published.write_json(folder / "val.json", [{"image": r["image"], "question": r["question"]} for r in records])


def _ask_twice(folder: Path) -> None:
    rows = (folder / "questions.jsonl").read_text()
    (folder / "questions.jsonl").write_text(rows + rows.splitlines()[0].replace('"question_id": 0', '"question_id": 9'))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: _answers(folder, {"question_id": 1, "text": ""}), "has none to 4 ('VizWiz_val_00000000.jpg',"),
        (
            lambda folder: _answers(folder, {"question_id": "11", "text": ""}),
            "answers.jsonl' is about 11, which is not",
        ),
        (lambda folder: _answers(folder, {"question_id": 1}), "line 1 lacks text"),
        (lambda folder: (folder / "answers.jsonl").write_text('{"question_id": 1, "te\n'), "line 1 is none"),
        (lambda folder: (folder / "answers.jsonl").write_text(""), "answers.jsonl' is empty"),
        (lambda folder: (folder / "answers.jsonl").write_text('[{"question_id": 1, "answer": ""}]'), "lacks image"),
        (lambda folder: (folder / "answers.jsonl").write_text('[{"image": "a.jpg", "answer": ""}]'), "about 'a.jpg'"),
        (lambda folder: (folder / "val.json").unlink(), "VizWiz's annotations must be readable"),
        (_test_split, "question 1 lacks answer_type; take the annotations of a split with public answers"),
        (lambda folder: _annotation(folder, answerable=2), "answerable must be 0 or 1"),
        (lambda folder: _annotation(folder, answers=[{"answer": None}]), "val.json' has [{'answer': None}]"),
        (lambda folder: _annotation(folder, image="other.jpg"), "questions.jsonl' is about 'VizWiz_val_00000001.jpg'"),
        (_ask_twice, "questions.jsonl' repeats a question_id or an image"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    vizwiz: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, spoil: object, complaint: str
) -> None:
    spoil(vizwiz)
    with pytest.raises(SystemExit) as stopped:
        score(vizwiz, monkeypatch)
    err = capsys.readouterr().err
    assert stopped.value.code == 2 and complaint in err and err.count("\n") == 1


def test_answers_file_needs_its_question_file(
    vizwiz: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as stopped:
        score(vizwiz, monkeypatch, part=False)
    assert stopped.value.code == 2 and "give its questions as --question-file" in capsys.readouterr().err
