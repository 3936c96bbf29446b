"""Video benchmarks: exact answers, the file for GPT and its grades, and complaints."""

import json
from collections.abc import Callable
from pathlib import Path

import published
import pytest
from commands import Outcome, call

FOLDER = "GPT_Zero_Shot_QA/Activitynet_Zero_Shot_QA"
TEXTS = ["Cooking.", "2", "a woman", "No"]  # cooking, two, man, no
IDS = ["clip_a_0", "clip_b_1", "clip_a_2", "clip_b_3"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """ActivityNet-QA's folder with answers: three right, one wrong."""
    published.WRITERS["activitynet"](tmp_path)
    folder = tmp_path / FOLDER
    answer(folder, dict(zip(IDS, TEXTS)))
    return folder


def answer(folder: Path, texts: dict) -> None:
    """An answers file."""
    published.lines(folder / "merge.jsonl", [{"question_id": name, "text": text} for name, text in texts.items()])


def evaluate(folder: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    """The scorer."""
    files = ["--questions", folder / "test_q.json", "--answers", folder / "test_a.json"]
    where = ["--dataset", "activitynet", *files, "--result-file", folder / "merge.jsonl"]
    return call("eval_videoqa", capsys, *where, *more)


def test_printed_form_and_last_line(data: Path, capsys: pytest.CaptureFixture) -> None:
    done = evaluate(data, capsys)
    assert done.code == 0 and done.err == ""
    assert done.out.splitlines()[:4] == [
        *("Exact match: 75.00%", "  Motion: 100.00%", "  Spatial Relationship: 100.00%", "  Yes/No: 50.00%"),
    ]
    assert json.loads(done.out.splitlines()[-1]) == {
        "benchmark": "activitynet",
        "metric": "exact match",
        "score": 75.0,
        "questions": 4,
        "missing": 0,
        "undecided": 0,
        "types": {"Motion": 100.0, "Spatial Relationship": 100.0, "Yes/No": 50.0},
    }


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("cooking", True),
        ("The cooking", True),
        ("Cooking!", True),
        ("cook", False),
        ("", False),
        ("not cooking", False),
    ],
)
def test_an_answer_is_right_if_it_is_the_annotated_one_normalised(
    data: Path, capsys: pytest.CaptureFixture, text: str, right: bool
) -> None:
    answer(data, dict(zip(IDS, [text, "three", "dog", "yes"])))
    assert json.loads(evaluate(data, capsys).out.splitlines()[-1])["score"] == (25.0 if right else 0.0)


def test_missing_answers_are_refused_or_left_out(data: Path, capsys: pytest.CaptureFixture) -> None:
    answer(data, dict(zip(IDS[:3], TEXTS)))
    refused = evaluate(data, capsys)
    assert refused.code == 2 and "has none to 1 ('clip_b_3'); run the benchmark again" in refused.err
    done = evaluate(data, capsys, "--allow-missing")
    last = json.loads(done.out.splitlines()[-1])
    assert (last["score"], last["missing"], last["questions"]) == (pytest.approx(200 / 3), 1, 3)


def test_empty_answers_are_wrong_and_said(data: Path, capsys: pytest.CaptureFixture) -> None:
    answer(data, dict(zip(IDS, ["", *TEXTS[1:]])))
    done = evaluate(data, capsys)
    assert "WARNING: 1 answers are empty: 'clip_a_0'" in done.err
    assert json.loads(done.out.splitlines()[-1])["undecided"] == 1


def test_what_gpt_grades_is_video_chatgpts_file(data: Path, capsys: pytest.CaptureFixture) -> None:
    assert evaluate(data, capsys, "--gpt-file", data / "gpt/to_grade.jsonl").code == 0
    lines = [json.loads(line) for line in (data / "gpt/to_grade.jsonl").read_text().splitlines()]
    assert lines[0] == {
        "id": "clip_a_0", "question": "what is the man doing?", "answer": "cooking", "pred": "Cooking."
    }  # fmt: skip
    assert list(lines[0]) == ["id", "question", "answer", "pred"] and len(lines) == 4


def test_check_reads_all_but_the_answers_and_writes_nothing(data: Path, capsys: pytest.CaptureFixture) -> None:
    (data / "merge.jsonl").unlink()
    assert evaluate(data, capsys, "--check", "--gpt-file", data / "g.jsonl") == Outcome(0, "", "")
    assert not (data / "g.jsonl").exists()


def graded(folder: Path, grades: list[tuple[object, object]], suffix: str = "") -> Path:
    """A results file of the grading."""
    content = {
        f"{name}{suffix}": [{"pred": said, "score": score}, {"q": "q", "a": "a", "pred": text}]
        for name, text, (said, score) in zip(IDS, TEXTS, grades)
    }
    path = folder / "results.json"
    path.write_text(json.dumps(content))
    return path


GRADES = [("yes", 5), ("Yes.", "4"), ("no", 2.9), ("yes", 3)]


@pytest.mark.parametrize("suffix", ["", "_0"])
def test_grades_are_read_back(data: Path, capsys: pytest.CaptureFixture, suffix: str) -> None:
    path = graded(data, GRADES, suffix)
    done = evaluate(data, capsys, "--graded", path)
    assert done.code == 0 and "Accuracy by GPT: 75.00%\n" in done.out and "Average score by GPT: 3.50\n" in done.out
    last = json.loads(done.out.splitlines()[-1])
    assert (last["benchmark"], last["metric"], last["score"]) == ("activitynet_gpt", "accuracy by GPT", 75.0)
    assert (last["average_score"], last["unclear"], last["exact_match"]) == (3.5, 0, 75.0)
    assert last["types"] == {"Motion": 100.0, "Spatial Relationship": 100.0, "Yes/No": 50.0}
    folder = data / "grades"
    folder.mkdir()
    for name, entry in json.loads(path.read_text()).items():
        (folder / f"{name}.json").write_text(json.dumps(entry))
    assert evaluate(data, capsys, "--graded", folder).out == done.out


def test_grades_of_neither_kind_count_for_the_average_alone(data: Path, capsys: pytest.CaptureFixture) -> None:
    done = evaluate(data, capsys, "--graded", graded(data, [*GRADES[:3], ("unsure", 1)]))
    assert "WARNING: 1 grades are neither yes nor no" in done.err
    last = json.loads(done.out.splitlines()[-1])
    assert (last["score"], last["average_score"], last["unclear"]) == (pytest.approx(200 / 3), 3.0, 1)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda content: content.pop("clip_b_3"), "has none of 1 answers, the first 'clip_b_3'"),
        (lambda content: content.update(other=content["clip_a_0"]), "is about 'other', which is not in"),
        (lambda content: content.update(clip_a_0_0=content["clip_a_0"]), "grades 'clip_a_0' again; remove one"),
        (lambda content: content.update(clip_a_0={"pred": "yes"}), "a grade is a list of"),
        (lambda content: content["clip_a_0"].pop(), "a grade is a list of"),
        (lambda content: content["clip_a_0"][0].pop("pred"), "a grade is a list of"),
        (lambda content: content["clip_a_0"][0].update(score="many"), "a number from 0 to 5: "),
        (lambda content: content["clip_a_0"][0].update(score=6), "a number from 0 to 5: "),
        (lambda content: content["clip_a_0"][0].update(score=True), "a number from 0 to 5: "),
        (lambda content: content["clip_a_0"][1].update(pred="Dancing."), "is of 'Dancing.', the answer is 'Cooking.'"),
        (lambda content: content.clear(), "has none of 4 answers"),
    ],
)
def test_gradings_of_something_else_are_refused(
    data: Path, capsys: pytest.CaptureFixture, spoil: Callable[[dict], object], complaint: str
) -> None:
    path = graded(data, GRADES)
    content = json.loads(path.read_text())
    spoil(content)
    path.write_text(json.dumps(content))
    refused = evaluate(data, capsys, "--graded", path)
    assert refused.code == 2 and complaint in refused.err and "\n" not in refused.err
    assert "benchmark" not in refused.out


def change(name: str, spoil: Callable[[list], object]) -> Callable[[Path], None]:
    """A change of one of the two lists."""

    def changing(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        spoil(content)
        (folder / name).write_text(json.dumps(content))

    return changing


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: (folder / "test_q.json").unlink(), "a question file must be readable"),
        (lambda folder: (folder / "test_q.json").write_text("{}"), "are a JSON list, or TGIF-QA's table"),
        (lambda folder: (folder / "test_q.json").write_text(""), "are a JSON list, or TGIF-QA's table"),
        (lambda folder: (folder / "test_q.json").write_text("[]"), "a JSON list of objects: "),
        (lambda folder: (folder / "test_q.json").write_text("[1]"), "a JSON list of objects: "),
        (lambda folder: (folder / "test_q.json").write_text("[{"), "a question file must be JSON"),
        (lambda folder: (folder / "test_a.json").write_text("[{}"), "an answer file must be JSON"),
        (lambda folder: (folder / "test_a.json").write_text('{"a": 1}'), "a JSON list of objects: "),
        (change("test_a.json", lambda content: content.pop()), "4 questions, "),
        (change("test_a.json", lambda content: content[0].update(question_id="x")), "has none to 'clip_a_0'"),
        (change("test_a.json", lambda content: content.__setitem__(0, content[1])), "answers one again"),
        (change("test_a.json", lambda content: content[0].pop("answer")), "question 1 has None; give the file of"),
        (change("test_a.json", lambda content: content[2].update(answer=["a"])), "question 3 has ['a']"),
        (change("test_a.json", lambda content: content[1].update(type=9)), "0 to 8 (Motion, Spatial Relationship"),
        (change("test_a.json", lambda content: content[1].update(type=[1])), "question 2 has [1]"),
        (change("test_q.json", lambda content: content[1].update(question_id="clip_a_0")), "'clip_a_0' again"),
        (change("test_q.json", lambda content: content[1].pop("question")), "question 2 has None; fetch it again"),
        (change("test_q.json", lambda content: content[3].pop("video_name")), "question 4 does not; fetch"),
        (change("test_q.json", lambda content: content[3].update(video_name="")), "question 4 does not; fetch"),
        (lambda folder: answer(folder, {"other": "a"}), "is about 'other', which is not in"),
        (lambda folder: answer(folder, {"clip_a_0": 3}), "line 1 has 3; mend it"),
        (lambda folder: (folder / "merge.jsonl").write_text(""), "must hold lines"),
    ],
)
def test_bad_files_are_one_line_and_exit_code_2(
    data: Path, capsys: pytest.CaptureFixture, spoil: Callable[[Path], None], complaint: str
) -> None:
    spoil(data)
    refused = evaluate(data, capsys, "--gpt-file", data / "g.jsonl")
    assert refused.code == 2 and complaint in refused.err and "\n" not in refused.err and refused.out == ""
    assert not (data / "g.jsonl").exists()
