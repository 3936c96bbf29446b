"""TextVQA's rule, how the question is found in the prompt, the printed form, and complaints."""

import json
from pathlib import Path

import published
import pytest

from llava.eval import eval_textvqa
from llava.eval.benchmarks.textvqa import question_of
from llava.eval.eval_textvqa import accuracy, report
from llava.eval.runs.command import run

END = "Answer the question using a single word or phrase."


@pytest.fixture
def textvqa(tmp_path: Path) -> Path:
    """The benchmark's folder; its four questions have soft accuracies of 0, 0.3, 0.6 and 1 for the answer "dakota"."""
    published.textvqa(tmp_path)
    folder = tmp_path / "textvqa"
    file = folder / "TextVQA_0.5.1_val.json"
    content = json.loads(file.read_text())
    for record, matches in zip(content["data"], (0, 1, 2, 4)):
        record["answers"] = matches * ["The Dakota."] + (10 - matches) * ["nikon"]
    file.write_text(json.dumps(content))
    answer(folder / "answers/run.jsonl")
    return folder


def answer(path: Path, texts: tuple[str, ...] = ("dakota",) * 4) -> None:
    """Write an answers file with the first `texts`, as the runner does."""
    asked = (path.parents[1] / "llava_textvqa_val_v051_ocr.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in asked]
    published.lines(
        path, [{"question_id": r["question_id"], "prompt": r["text"], "text": t} for r, t in zip(records, texts)]
    )


def score(folder: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
    """Run the command; `more` says what is scored."""
    command = ["eval_textvqa", "--annotation-file", str(folder / "TextVQA_0.5.1_val.json")]
    monkeypatch.setattr("sys.argv", [*command, *(more or ["--result-file", str(folder / "answers/run.jsonl")])])
    run(eval_textvqa.main)


@pytest.mark.parametrize(
    ("prompt", "question"),
    [
        (f"What BRAND is it?\nReference OCR token: A, B\n{END}", "what brand is it?"),
        (f"What is it? \nReference OCR token: \n{END}", "what is it? "),
        (f"Reference OCR token: A, B\nWhat is it?\n{END}", "what is it?"),
        (f"Reference OCR token:\nReference OCR token: \n{END}", "reference ocr token: "),
        (f"What is it?\n{END}", "what is it?"),
        ("OCR tokens: a, b. Question: What\nis it? Short answer: so Short answer:", "what\nis it?"),
        ("OCR tokens: a, b. What is it?", None),
        ("What is it?", None),
        (f"What is it?\nOCR: A\n{END}", None),
        (f"What\nis it?\nReference OCR token: A\n{END}", None),
        ("", None),
    ],
)
def test_question_is_taken_out_of_every_form_of_prompt(prompt: str, question: str | None) -> None:
    assert question_of(prompt) == question


def test_predictions_and_truths_are_normalised() -> None:
    truth = {("a", "q"): ["Two dogs!"] * 3 + ["2 dogs"] * 7, ("b", "q"): ["John's"] * 2 + ["x"] * 8}
    assert accuracy({("a", "q"): "the 2 DOGS", ("b", "q"): "john 's"}, truth) == (1.0 + 0.6) / 2
    assert accuracy({("b", "q"): "johns"}, truth) == 0.0


def test_printed_form_is_the_official_one() -> None:
    assert report(5000, 0.61306) == "Samples: 5000\nAccuracy: 61.31%\n"


def test_score_is_the_mean_soft_accuracy(
    textvqa: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    score(textvqa, monkeypatch)
    out, err = capsys.readouterr()
    assert out.startswith("run\nSamples: 4\nAccuracy: 47.50%\n\n{") and err == ""
    last = json.loads(out.splitlines()[-1])
    assert (last["benchmark"], last["metric"], last["samples"], last["missing"]) == ("textvqa", "soft accuracy", 4, 0)
    assert last["score"] == 47.5


def test_folder_is_scored_file_by_file_and_other_files_are_named(
    textvqa: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    answer(textvqa / "answers/best.v2.jsonl", ("nikon",) * 4)
    (textvqa / "answers/run.jsonl.settings.json").write_text("{}")
    (textvqa / "answers/._run.jsonl").write_bytes(b"\x00\x05\x16\x07")
    score(textvqa, monkeypatch, "--result-dir", str(textvqa / "answers"))
    out = capsys.readouterr().out
    shown = [line for line in out.splitlines() if line and not line.startswith("{")]
    assert shown == [
        "Skipping run.jsonl.settings.json",
        *("best.v2", "Samples: 4", "Accuracy: 100.00%"),
        *("run", "Samples: 4", "Accuracy: 47.50%"),
    ]
    found = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert [(one["experiment"], one["score"]) for one in found] == [("best.v2", 100.0), ("run", 47.5)]
    assert out.splitlines()[-1].startswith("{")


def test_missing_answers_are_counted_and_named(
    textvqa: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    answer(textvqa / "answers/run.jsonl", ("dakota", "", "dakota"))
    with pytest.raises(SystemExit):
        score(textvqa, monkeypatch)
    err = capsys.readouterr().err
    assert "has none to 1 ('003a8ae2ef43b901 what is the brand of camera 3?'); run" in err and err.count("\n") == 1
    score(textvqa, monkeypatch, "--result-file", str(textvqa / "answers/run.jsonl"), "--allow-missing")
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        "WARNING: 1 questions have no answer and are left out: '003a8ae2ef43b901 what is the brand of camera 3?'",
        "WARNING: 1 answers are empty: '003a8ae2ef43b900 what is the brand of camera 1?'",
    ]
    assert json.loads(out.splitlines()[-1]) | {"score": 0} == {
        **{"benchmark": "textvqa", "metric": "soft accuracy", "score": 0},
        **{"experiment": "run", "samples": 3, "missing": 1, "undecided": 1},
    }


def test_the_id_that_is_meant_is_said(
    textvqa: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """TextVQA's own question ids, an id of nothing, and prompts whose line breaks are written as two signs."""
    whole = (textvqa / "answers/run.jsonl").read_text()
    first = ', "prompt": "what is the brand of camera 0'
    cases = [
        (
            '"003a8ae2ef43b900"' + first,
            "34602" + first,
            "line 1 has 34602, TextVQA's own id of the question; expected '00",
        ),
        ("003a8ae2ef43b900", "nothing", "is not annotated; question_id is the picture's id, as in llava_textvqa_"),
        ("\\n", "\\\\n", "it has the two signs \\ and n where line breaks belong"),
    ]
    for old, new, complaint in cases:
        assert old in whole
        (textvqa / "answers/run.jsonl").write_text(whole.replace(old, new))
        with pytest.raises(SystemExit):
            score(textvqa, monkeypatch)
        assert complaint in capsys.readouterr().err


def _edit(folder: Path, **changes: object) -> None:
    file = folder / "answers/run.jsonl"
    records = [json.loads(line) for line in file.read_text().splitlines()]
    published.lines(file, [records[0], records[1] | changes])


def _without_answers(folder: Path) -> None:
    file = folder / "TextVQA_0.5.1_val.json"
    content = json.loads(file.read_text())
    del content["data"][2]["answers"]
    file.write_text(json.dumps(content))


def _nine_answers(folder: Path) -> None:
    file = folder / "TextVQA_0.5.1_val.json"
    content = json.loads(file.read_text())
    content["data"][2]["answers"].pop()
    file.write_text(json.dumps(content))


def _torn(folder: Path) -> None:
    rows = (folder / "answers/run.jsonl").read_text().splitlines()
    (folder / "answers/run.jsonl").write_text("\n".join([rows[0], rows[1][:30], rows[2]]) + "\n")


def _doubled(folder: Path) -> None:
    file = folder / "answers/run.jsonl"
    file.write_text(2 * file.read_text())


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (_torn, "run.jsonl line 2 is none"),
        (_doubled, "run.jsonl line 5 answers 'what is the brand of camera 0?' again"),
        (lambda folder: (folder / "answers/run.jsonl").write_text(""), "run.jsonl' is empty"),
        (lambda folder: (folder / "answers/run.jsonl").unlink(), "No such file"),
        (lambda folder: published.lines(folder / "answers/run.jsonl", [{"question_id": "x"}]), "line 1 lacks text"),
        (lambda folder: _edit(folder, question_id="ffff"), "line 2 asks 'what is the brand of camera 1?' about 'ffff'"),
        (lambda folder: _edit(folder, prompt=f"Is it red?\n{END}"), "line 2 asks 'is it red?'"),
        (lambda folder: _edit(folder, prompt="Is it red?"), "line 2 has 'Is it red?'"),
        (lambda folder: _edit(folder, text=None), "line 2 has None"),
        (_without_answers, "question 3 lacks answers"),
        (_nine_answers, "a TextVQA question has 10 answers"),
        (lambda folder: (folder / "TextVQA_0.5.1_val.json").write_text("[]"), "val.json' holds none"),
        (lambda folder: (folder / "TextVQA_0.5.1_val.json").write_text('{"data": ['), "must be JSON"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    textvqa: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, spoil: object, complaint: str
) -> None:
    spoil(textvqa)
    with pytest.raises(SystemExit) as stopped:
        score(textvqa, monkeypatch)
    err = capsys.readouterr().err
    assert stopped.value.code == 2 and complaint in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--result-dir", "nowhere/here"], "'nowhere/here' is not (No such file"),
        (["--result-file", ""], "--result-file or --result-dir"),
    ],
)
def test_nothing_to_score_is_one_line_and_exit_code_2(
    textvqa: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, more: list[str], complaint: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        score(textvqa, monkeypatch, *more)
    err = capsys.readouterr().err
    assert stopped.value.code == 2 and complaint in err and err.count("\n") == 1


def test_folder_without_answers_files_is_refused(
    textvqa: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (textvqa / "answers/run.jsonl").unlink()
    with pytest.raises(SystemExit) as stopped:
        score(textvqa, monkeypatch, "--result-dir", str(textvqa / "answers"))
    assert stopped.value.code == 2 and "has no *.jsonl" in capsys.readouterr().err
