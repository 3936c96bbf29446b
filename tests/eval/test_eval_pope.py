"""POPE's score, and what happens when answers and labels do not belong together."""

import json
import re
from pathlib import Path

import published
import pytest

from llava.eval import eval_pope
from llava.eval.runs.command import run


@pytest.fixture
def pope(tmp_path: Path) -> Path:
    """The benchmark's folder with an answers file that says yes to everything."""
    published.pope(tmp_path)
    folder = tmp_path / "pope"
    answer(folder, {})
    return folder


def answer(folder: Path, texts: dict[int, str], leave_out: tuple[int, ...] = ()) -> None:
    """Write answers: `texts` by question id, Yes to the others."""
    asked = [json.loads(line) for line in (folder / "llava_pope_test.jsonl").read_text().splitlines()]
    published.lines(
        folder / "answers.jsonl",
        [
            {"question_id": record["question_id"], "text": texts.get(record["question_id"], "Yes")}
            for record in asked
            if record["question_id"] not in leave_out
        ],
    )


def score(folder: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
    """Run the command on the folder."""
    command = ["eval_pope", "--annotation-dir", str(folder / "coco"), "--result-file", str(folder / "answers.jsonl")]
    monkeypatch.setattr("sys.argv", [*command, "--question-file", str(folder / "llava_pope_test.jsonl"), *more])
    run(eval_pope.main)


@pytest.mark.parametrize("how", ["position", "text"])
def test_score_is_the_mean_of_three_f1(
    pope: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, how: str
) -> None:
    answer(pope, {2: "No", 4: "No", 10000002: "No", 20000003: "No"})
    score(pope, monkeypatch, "--pair-by", how)
    out, err = capsys.readouterr()
    last = json.loads(out.splitlines()[-1])
    assert last["score"] == pytest.approx(100 * (1.0 + 0.8 + 0.4) / 3)
    assert (last["benchmark"], last["metric"], last["mismatches"], err) == ("pope", "mean F1", 0, "")
    assert [line for line in out.splitlines() if line.startswith("Category")] == [
        f"Category: {name}, # samples: 4" for name in ("adversarial", "popular", "random")
    ]


RIGHT = {2: "No", 4: "No", 10000002: "No", 10000004: "No", 20000002: "No", 20000004: "No"}


def refused(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, *more: str) -> str:
    """The complaint about a score that is none; nothing is printed for programs."""
    with pytest.raises(SystemExit) as stopped:
        score(folder, monkeypatch, *more)
    out, err = capsys.readouterr()
    assert stopped.value.code == 2 and "{" not in out and err.count("error: ") == 1
    return err.splitlines()[-1]


def test_annotations_of_another_commit_are_refused_and_pairing_by_text_mends_them(
    pope: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    labels = pope / "coco/coco_pope_random.json"
    extra = {"question_id": 0, "image": "COCO_val2014_000000310196.jpg", "text": "Is there a cat?", "label": "no"}
    labels.write_text(json.dumps(extra) + "\n" + labels.read_text())
    answer(pope, RIGHT)
    err = refused(pope, monkeypatch, capsys)
    assert "of random, 5 of 5 labels and 4 answers are not paired rightly; they can be: give --pair-by text" in err
    score(pope, monkeypatch, "--pair-by", "text")
    out, err = capsys.readouterr()
    last = json.loads(out.splitlines()[-1])
    assert last["score"] == 100.0 and last["mismatches"] == 1
    assert err == "WARNING: random: 1 of 5 labels and 4 answers have no partner; they are left out\n"


def test_by_text_answers_without_label_are_counted_too(
    pope: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    labels = pope / "coco/coco_pope_random.json"
    labels.write_text("".join(labels.read_text().splitlines(keepends=True)[1:3]))
    answer(pope, RIGHT)
    score(pope, monkeypatch, "--pair-by", "text")
    out, err = capsys.readouterr()
    assert json.loads(out.splitlines()[-1])["score"] == 100.0
    assert "random: 2 of 2 labels and 4 answers have no partner; they are left out" in err


def test_labels_of_other_pictures_give_no_score(
    pope: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    labels = pope / "coco/coco_pope_random.json"
    labels.write_text(labels.read_text().replace("COCO_val2014", "COCO_train2014"))
    assert "4 of 4 labels and 4 answers are not paired rightly; fetch POPE" in refused(pope, monkeypatch, capsys)
    err = refused(pope, monkeypatch, capsys, "--pair-by", "text")
    assert "of random, none of 4 labels and 4 answers are about the same picture and question" in err


def test_missing_answers_are_refused_by_category(
    pope: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    answer(pope, RIGHT, leave_out=(1, 20000002, 20000003))
    err = refused(pope, monkeypatch, capsys)
    assert "answers.jsonl' has none to 3 (adversarial: 1 of 4, popular: 2 of 4; first 1); run the benchmark" in err
    score(pope, monkeypatch, "--allow-missing")
    out, err = capsys.readouterr()
    last = json.loads(out.splitlines()[-1])
    assert last["missing"] == 3 and last["mismatches"] == 3 and last["score"] == pytest.approx(100.0)
    assert err.count("are left out") == 2


@pytest.mark.parametrize("flags", [(), ("--pair-by", "text"), ("--allow-missing",)])
def test_a_category_without_answers_has_no_score(
    pope: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, flags: tuple[str, ...]
) -> None:
    answer(pope, RIGHT, leave_out=(20000001, 20000002, 20000003, 20000004, 10000001))
    err = refused(pope, monkeypatch, capsys, *flags)
    assert "has none to 5 (popular: 4 of 4, random: 1 of 4; first 10000001); run the benchmark again" in err


def test_ids_may_be_numbers_or_texts(
    pope: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    file = pope / "answers.jsonl"
    file.write_text(re.sub(r'"question_id": (\d+)', r'"question_id": "\1"', file.read_text()))
    score(pope, monkeypatch)
    assert capsys.readouterr().err == ""


def test_undecided_answers_are_said(pope: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    answer(pope, {1: "", 3: "Maybe."})
    score(pope, monkeypatch)
    out, err = capsys.readouterr()
    assert json.loads(out.splitlines()[-1])["undecided"] == 2
    assert err == "WARNING: 2 of 12 answers have neither yes nor no and count as yes: 1, 3\n"


def test_questions_passed_over_count_as_wrong_and_not_as_yes(
    pope: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """An empty text would be a yes by POPE's rule, and right for question 1."""
    answer(pope, RIGHT)
    lines = [json.loads(line) for line in (pope / "answers.jsonl").read_text().splitlines()]
    for line in lines[:2]:
        line |= {"text": "", "metadata": {"skipped": "the picture cannot be read"}}
    published.lines(pope / "answers.jsonl", lines)
    score(pope, monkeypatch)
    out, err = capsys.readouterr()
    last = json.loads(out.splitlines()[-1])
    assert (last["skipped"], last["undecided"], last["missing"]) == (2, 0, 0)
    assert {name: last["categories"]["adversarial"][name] for name in ("tp", "fp", "tn", "fn")} == {
        **{"tp": 1, "fp": 1, "tn": 1, "fn": 1}
    }
    assert err == (
        f"WARNING: 2 questions of '{pope}/answers.jsonl' were skipped and count as answered wrongly, the first: the "
        f"picture cannot be read\n"
    )


def test_names_that_begin_with_a_dot_are_passed_over(
    pope: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (pope / "coco/.DS_Store").write_bytes(b"\0")
    (pope / "coco/._coco_pope_random.json").write_bytes(b"\0\5\x16\7")
    (pope / "coco/.ipynb_checkpoints").mkdir()
    score(pope, monkeypatch)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("missing", ["labels", "questions", "other"])
def test_what_a_check_before_the_run_finds(
    pope: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, missing: str
) -> None:
    (pope / "answers.jsonl").unlink()
    score(pope, monkeypatch, "--check")
    assert capsys.readouterr().out == ""
    asked = pope / "llava_pope_test.jsonl"
    if missing == "labels":
        (pope / "coco/coco_pope_popular.json").unlink()
        expected = "has no labels of popular; fetch"
    elif missing == "questions":
        asked.write_text("".join(line for line in asked.open() if '"popular"' not in line))
        expected = "has none of popular; give llava_pope_test.jsonl whole"
    else:
        asked.write_text(asked.read_text().replace('"popular"', '"Popular"', 1))
        expected = "has 'Popular', for which there is no file"
    assert expected in refused(pope, monkeypatch, capsys, "--check")


def _other_question_file(folder: Path) -> None:
    published.lines(folder / "answers.jsonl", [{"question_id": "201307251", "text": "Yes"}])


def _label(folder: Path, label: object) -> None:
    file = folder / "coco/coco_pope_random.json"
    first, *others = file.read_text().splitlines()
    file.write_text("\n".join([json.dumps(json.loads(first) | {"label": label}), *others]))


def _doubled_answer(folder: Path) -> None:
    file = folder / "answers.jsonl"
    file.write_text(file.read_text() + file.read_text().splitlines()[0] + "\n")


def _doubled_question(folder: Path) -> None:
    file = folder / "llava_pope_test.jsonl"
    file.write_text(file.read_text() + file.read_text().splitlines()[0] + "\n")


def _torn_answer(folder: Path) -> None:
    rows = (folder / "answers.jsonl").read_text().splitlines()
    (folder / "answers.jsonl").write_text("\n".join([rows[0], rows[1][:9], rows[2]]) + "\n")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (_other_question_file, "is about 201307251, which is not in"),
        (lambda folder: _label(folder, "maybe"), "coco_pope_random.json line 1 has 'maybe'; fetch"),
        (lambda folder: _label(folder, None), "coco_pope_random.json line 1 has None; fetch"),
        (_doubled_answer, "answers.jsonl line 13 answers 1 again"),
        (_torn_answer, "answers.jsonl line 2 is none"),
        (lambda folder: (folder / "answers.jsonl").write_text(""), "answers.jsonl' is empty"),
        (lambda folder: (folder / "answers.jsonl").unlink(), "No such file"),
        (lambda folder: (folder / "coco/notes.txt").write_text(""), "has notes.txt"),
        (lambda folder: published.lines(folder / "answers.jsonl", [{"question_id": [1], "text": ""}]), "has [1]"),
        (lambda folder: published.lines(folder / "answers.jsonl", [{"question_id": 1, "text": 7}]), "line 1 has 7;"),
        (lambda folder: (folder / "coco/coco_pope_random.json").write_text('{"image": 1}\n'), "line 1 lacks text"),
        (_doubled_question, "llava_pope_test.jsonl line 13 has 1 again; remove it"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    pope: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, spoil: object, complaint: str
) -> None:
    spoil(pope)
    with pytest.raises(SystemExit) as stopped:
        score(pope, monkeypatch)
    err = capsys.readouterr().err
    assert stopped.value.code == 2 and complaint in err and err.count("\n") == 1
