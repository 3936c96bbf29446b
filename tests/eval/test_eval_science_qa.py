"""ScienceQA's rule, the files that LLaVA's evaluation leaves behind to the byte, published numbers, complaints."""

import json
from collections.abc import Callable
from pathlib import Path

import published
import pytest
from commands import Outcome, call

from llava.eval.benchmarks.science_qa import Outcome as Answered
from llava.eval.benchmarks.science_qa import Problem, groups_of, result_file
from llava.eval.eval_science_qa import accuracy, by_group, index_of, parse, report

IDS = ["4", "7", "10", "13", "16"]  # of the made-up problems; 7 and 13 have a picture, B is right everywhere
MULTIMODAL = ("7", "13")


@pytest.fixture
def sqa(tmp_path: Path) -> Path:
    """The benchmark's folder, one problem answered wrongly and one with nothing."""
    published.sqa(tmp_path)
    answer(tmp_path / "scienceqa", dict(zip(IDS, ("B", "B. Maine", "The answer is B.", "Maine", "C"))))
    return tmp_path / "scienceqa"


def answer(folder: Path, texts: dict[str, object]) -> None:
    """Write an answers file as the runner does."""
    records = [
        {"question_id": name, "prompt": ("<image>\n" if name in MULTIMODAL else "") + "Which state?", "text": text}
        for name, text in texts.items()
    ]
    published.lines(folder / "answers.jsonl", records)


def evaluate(folder: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    """The scorer with both files that it writes, in a folder that is not there yet."""
    written = ("--output-file", folder / "new/run_output.jsonl", "--output-result", folder / "new/run_result.json")
    files = ("--base-dir", folder, "--result-file", folder / "answers.jsonl", *written)
    return call("eval_science_qa", capsys, *files, *more)


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("B. Maine", "B"),
        ("B. ", "B"),
        ("B.", "FAILED"),
        ("B.Maine", "FAILED"),
        (" B", "FAILED"),
        ("b", "FAILED"),
        ("F", "FAILED"),
        ("F. Maine", "FAILED"),
        ("The answer is C.", "C"),
        ("Well. The answer is C!", "C"),
        ("The answer is C", "FAILED"),
        ("The answer is Z.", "Z"),
        ("The answer is A. The answer is A.", "FAILED"),
        ("A. The answer is B.", "A"),
        ("", "FAILED"),
    ],
)
def test_what_an_answer_means(text: str, letter: str) -> None:
    assert parse(text, list("ABCDE")) == letter


@pytest.mark.parametrize(
    ("letter", "choices", "index"), [("B", 2, 1), ("C", 2, -1), ("E", 5, 4), ("Z", 5, -1), ("FAILED", 5, -1)]
)
def test_letter_must_be_one_of_the_choices(letter: str, choices: int, index: int) -> None:
    assert index_of(letter, choices, list("ABCDE")) == index


def test_published_numbers_of_llava_13b() -> None:
    """3155 of 4241 right, and of the 2017 with a picture 1445, the only count that rounds to the published 71.64."""
    right = [True] * 1445 + [False] * (2017 - 1445) + [True] * (3155 - 1445)
    right += [False] * (4241 - len(right))
    shown = [at < 2017 for at in range(4241)]
    line = report(right, accuracy(right, [True] * 4241), accuracy(right, shown))
    assert line == "Total: 4241, Correct: 3155, Accuracy: 74.39%, IMG-Accuracy: 71.64%"
    outcomes = [Answered(str(at), "A", "A", "?", "A", False) for at in range(4241)]
    head = result_file(outcomes, [0] * 4241, sum(right))[:90]
    assert head.startswith(
        '{\n  "acc": 74.39283187927376,\n  "correct": 3155,\n  "count": 4241,\n  "results": {\n    "0"'
    )


def test_scores_and_printed_form(sqa: Path, capsys: pytest.CaptureFixture) -> None:
    done = evaluate(sqa, capsys)
    assert (done.code, done.err) == (0, "WARNING: 2 answers name no choice and count as wrong: 13, 16")
    assert done.out.startswith("Total: 5, Correct: 3, Accuracy: 60.00%, IMG-Accuracy: 50.00%\n\n{")
    assert json.loads(done.out.splitlines()[-1]) == {
        **{"benchmark": "sqa", "metric": "IMG accuracy", "score": 50.0, "accuracy": 60.0, "correct": 3},
        **{"problems": 5, "with_image": 2, "missing": 0, "failed": 2, "undecided": 2},
        "groups": {
            **{"G1-6": 100.0, "G7-12": 0.0, "IMG": 50.0, "LAN": 100.0, "NAT": 50.0, "NO": 100.0},
            **{"SOC": 50.0, "TXT": 0.0},
        },
    }


def test_files_to_the_byte(sqa: Path, capsys: pytest.CaptureFixture) -> None:
    answer(sqa, {"7": "B", "4": "Mäine", "10": "A", "13": "B", "16": "B"})
    (sqa / "pid_splits.json").write_text('{"test": ["4", "7"], "val": ["10"]}')
    (sqa / "answers.jsonl").write_text("".join((sqa / "answers.jsonl").read_text().splitlines(keepends=True)[:2]))
    assert evaluate(sqa, capsys).code == 0
    assert (sqa / "new/run_output.jsonl").read_bytes() == (
        b'{\n  "correct": [\n    {\n      "question_id": "7",\n      "parsed_ans": "B",\n      "ground_truth": "B",\n'
        b'      "question": "<image>\\nWhich state?",\n      "pred": "B",\n      "is_multimodal": true\n    }\n  ],\n'
        b'  "incorrect": [\n    {\n      "question_id": "4",\n      "parsed_ans": "FAILED",\n'
        b'      "ground_truth": "B",\n      "question": "Which state?",\n      "pred": "M\\u00e4ine",\n'
        b'      "is_multimodal": false\n    }\n  ]\n}'
    )
    assert (sqa / "new/run_result.json").read_bytes() == (
        b'{\n  "acc": 50.0,\n  "correct": 1,\n  "count": 2,\n  "results": {\n    "4": -1,\n    "7": 1\n  },\n'
        b'  "outputs": {\n    "4": "M\\u00e4ine",\n    "7": "B"\n  }\n}'
    )


def test_missing_answers_are_refused_or_wrong_without_picture(sqa: Path, capsys: pytest.CaptureFixture) -> None:
    answer(sqa, {"7": "B", "4": "B", "10": "B"})
    refused = evaluate(sqa, capsys)
    assert refused.code == 2 and "has none to 2 (13, 16); run the benchmark again" in refused.err
    assert refused.out == "" and not (sqa / "new").exists()
    done = evaluate(sqa, capsys, "--allow-missing")
    assert done.out.startswith("Total: 5, Correct: 3, Accuracy: 60.00%, IMG-Accuracy: 100.00%\n")
    assert done.err == "WARNING: 2 questions have no answer and count as wrong and as without picture: 13, 16"
    missing = json.loads((sqa / "new/run_output.jsonl").read_text())["incorrect"][0]
    assert list(missing.items()) == [
        *(("question_id", "13"), ("parsed_ans", "FAILED"), ("ground_truth", "B"), ("question", "Unknown")),
        *(("pred", "FAILED"), ("is_multimodal", False)),
    ]
    assert json.loads((sqa / "new/run_result.json").read_text())["outputs"]["13"] == "FAILED"


def test_without_the_image_s_mark_there_is_no_score(sqa: Path, capsys: pytest.CaptureFixture) -> None:
    file = sqa / "answers.jsonl"
    file.write_text(file.read_text().replace("<image>\\n", ""))
    done = evaluate(sqa, capsys)
    assert done.code == 2 and "IMG-Accuracy: none" in done.out and "{" not in done.out
    assert "error: ScienceQA's score is the accuracy on problems with picture: no prompt in " in done.err


def test_split_and_options_are_chosen_and_files_are_optional(sqa: Path, capsys: pytest.CaptureFixture) -> None:
    splits = json.loads((sqa / "pid_splits.json").read_text())
    published.write_json(sqa / "pid_splits.json", splits | {"val": ["7"]})
    answer(sqa, {"7": "Y"})
    flags = ("--base-dir", sqa, "--result-file", sqa / "answers.jsonl", "--split", "val", "--options")
    for options in (["XYZ"], ["X", "Y", "Z"]):
        done = call("eval_science_qa", capsys, *flags, *options)
        assert done.out.startswith("Total: 1, Correct: 1, Accuracy: 100.00%, IMG-Accuracy: 100.00%\n")
    refused = call("eval_science_qa", capsys, *flags, "X")
    assert refused.code == 2 and "a problem has 3, got X; add letters" in refused.err


def test_groups_of_scienceqa_s_own_evaluation() -> None:
    record = {"subject": "natural science", "hint": "Look.", "image": "image.png", "grade": "grade6"}
    assert groups_of(record) == ("NAT", "TXT", "IMG", "G1-6")
    assert groups_of({"subject": "language science", "hint": "", "image": None, "grade": "grade7"}) == (
        *("LAN", "NO", "G7-12"),
    )
    assert groups_of({}) == ("NO",)
    problems = [Problem(2, 0, ("NAT",)), Problem(2, 0, ("NAT", "IMG")), Problem(2, 0, ("SOC",))]
    assert by_group(problems, [True, False, True]) == {"IMG": 0.0, "NAT": 50.0, "SOC": 100.0}


def _problems(folder: Path, **changes: object) -> None:
    content = json.loads((folder / "problems.json").read_text())
    content["10"] |= changes
    published.write_json(folder / "problems.json", content)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: answer(folder, {"5": "B"}), "answers.jsonl' is about 5, which is not in 'split test of"),
        (lambda folder: answer(folder, {"7": None}), "line 1 has None; mend it"),
        (lambda folder: published.lines(folder / "answers.jsonl", [{"question_id": "7", "text": ""}]), "lacks prompt"),
        (
            lambda folder: (folder / "answers.jsonl").write_text(2 * (folder / "answers.jsonl").read_text()),
            "line 6 answers 4 again",
        ),
        (
            lambda folder: (folder / "answers.jsonl").write_text((folder / "answers.jsonl").read_text()[:-30]),
            "answers.jsonl line 5 is none",
        ),
        (lambda folder: (folder / "answers.jsonl").write_text(""), "answers.jsonl' is empty"),
        (lambda folder: (folder / "answers.jsonl").unlink(), "an answers file must be readable"),
        (lambda folder: (folder / "problems.json").write_text('{"4": '), "problems must be JSON"),
        (lambda folder: (folder / "problems.json").write_text("{}"), "lacks 5 (4, 7, 10, ...)"),
        (lambda folder: (folder / "pid_splits.json").write_text('{"val": ["4"]}'), "has 'val'; got 'test'"),
        (lambda folder: (folder / "pid_splits.json").write_text('{"test": [["4"]]}'), "a split lists ids: "),
        (lambda folder: (folder / "pid_splits.json").unlink(), "ScienceQA's splits must be readable"),
        (lambda folder: _problems(folder, answer=2), "problem 10 has ['Texas', 'Maine'] and 2"),
        (lambda folder: _problems(folder, choices=None), "problem 10 has None and 1"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2_and_nothing_is_written(
    sqa: Path, capsys: pytest.CaptureFixture, spoil: Callable[[Path], None], complaint: str
) -> None:
    spoil(sqa)
    refused = evaluate(sqa, capsys)
    assert refused.code == 2 and complaint in refused.err and "\n" not in refused.err and refused.out == ""
    assert not (sqa / "new").exists()
