"""MME's folder of text files to the byte, and complaints about what does not belong together."""

import json
from collections.abc import Callable
from pathlib import Path

import published
import pytest
from commands import Outcome, call, records

from llava.eval.benchmarks.mme import INSTRUCTION, SUBTASKS, place_of, restore


@pytest.fixture
def mme(tmp_path: Path) -> Path:
    """The benchmark's folder with right answers to everything."""
    published.mme(tmp_path)
    asked = records(tmp_path / "MME/llava_mme.jsonl")
    answers = [
        {"question_id": line["question_id"], "prompt": line["text"], "text": ("Yes", "No")[at % 2]}
        for at, line in enumerate(asked)
    ]
    published.lines(tmp_path / "MME/answers/run.jsonl", answers)
    return tmp_path / "MME"


def answers_with(folder: Path, at: int, **changes: object) -> None:
    """Change one line of the answers."""
    lines = records(folder / "answers/run.jsonl")
    lines[at] |= changes
    published.lines(folder / "answers/run.jsonl", lines)


def evaluate(folder: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    """Conversion and calculation, as mme.sh does it."""
    where = ("--data", folder / "MME_Benchmark_release_version", "--output-dir", folder / "eval_tool/answers/run")
    return call("eval_mme", capsys, "--result-file", folder / "answers/run.jsonl", *where, *more)


def test_folder_of_text_files_to_the_byte(mme: Path, capsys: pytest.CaptureFixture) -> None:
    answers_with(mme, 0, text="Yes, it is.")
    done = evaluate(mme, capsys)
    assert (done.code, done.err) == (0, "") and json.loads(done.out.splitlines()[-1])["score"] == 2800.0
    folder = mme / "eval_tool/answers/run"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{name}.txt" for names in SUBTASKS.values() for name in names
    )
    assert (folder / "artwork.txt").read_bytes() == (
        b"14770.txt\tIs there a dog in this artwork? Please answer yes or no.\tYes\tYes, it is.\n"
        b"14770.txt\tIs there a car in this artwork? Please answer yes or no.\tNo\tNo\n"
    )
    assert b"color?  Please answer yes or no.\tYes\tYes\n" in (folder / "color.txt").read_bytes()


@pytest.mark.parametrize(
    ("prompt", "question"),
    [
        (f"Is it red?\n{INSTRUCTION}", "Is it red? Please answer yes or no."),
        (f"Is it blue?\n{INSTRUCTION}", "Is it blue?  Please answer yes or no."),
        (f"Is it red? Please answer yes or no.\n{INSTRUCTION}", "Is it red? Please answer yes or no."),
        ("Is it blue? Please answer yes or no.", "Is it blue?  Please answer yes or no."),
        (f"Is it green?\n{INSTRUCTION}", None),
    ],
)
def test_mme_s_question_is_found_again(prompt: str, question: str | None) -> None:
    known = {"Is it red? Please answer yes or no.": "Yes", "Is it blue?  Please answer yes or no.": "No"}
    assert restore(prompt, known) == question


def test_text_file_of_a_picture() -> None:
    assert place_of("artwork/images/14777.jpg") == ("artwork", "14777.txt")
    assert place_of("code_reasoning/0020.final.png") == ("code_reasoning", "0020.txt")


def test_answers_that_would_break_a_line_are_mended_and_reported(mme: Path, capsys: pytest.CaptureFixture) -> None:
    answers_with(mme, 0, text="Yes\tor\nno\r")
    done = evaluate(mme, capsys)
    assert done.err == (
        "WARNING: 1 answers hold a tab or line break, which is written as a space: 'artwork/images/14770.jpg'"
    )
    assert (mme / "eval_tool/answers/run/artwork.txt").read_text().splitlines()[0].endswith("\tYes\tYes or no ")
    assert json.loads(done.out.splitlines()[-1])["score"] == 2800.0


def two_scenes(folder: Path) -> Path:
    """A second picture of scene, asked about and answered rightly; its text file in MME's data."""
    place = folder / "MME_Benchmark_release_version/scene/questions_answers_YN"
    [file] = place.glob("*.txt")
    (place / "9.txt").write_text(file.read_text())
    for name in ("answers/run.jsonl", "llava_mme.jsonl"):
        lines = records(folder / name)
        more = [line | {"question_id": "scene/images/9.jpg"} for line in lines if "scene/" in line["question_id"]]
        published.lines(folder / name, [*lines, *more])
    return place / "9.txt"


def test_data_without_a_picture_s_questions_is_named_before_and_after_the_run(
    mme: Path, capsys: pytest.CaptureFixture
) -> None:
    two_scenes(mme).unlink()
    complaint = "has no 9.txt of scene, which "
    for flags in ((), ("--question-file", mme / "llava_mme.jsonl", "--check")):
        refused = evaluate(mme, capsys, *flags)
        assert refused.code == 2 and complaint in refused.err and "give --allow-missing" in refused.err
        assert "(1 such pictures)" in refused.err and "\n" not in refused.err and not (mme / "eval_tool").exists()


@pytest.mark.parametrize("lacking", ["data", "answer"])
def test_a_picture_that_data_or_answers_lack_is_left_out_where_that_is_allowed(
    mme: Path, capsys: pytest.CaptureFixture, lacking: str
) -> None:
    file = two_scenes(mme)
    if lacking == "data":
        file.unlink()
    else:
        _lines(mme, lambda lines: lines[:-1])
        assert "has none to 1 ('scene/9.txt: Is there a car" in evaluate(mme, capsys).err
    done = evaluate(mme, capsys, "--allow-missing")
    last = json.loads(done.out.splitlines()[-1])
    assert (done.code, last["score"], last["left_out"]) == (0, 2800.0, 1)
    assert done.err == "WARNING: 1 pictures have no two questions with answers and are left out: 'scene/9.txt'"
    assert "9.txt" not in (mme / "eval_tool/answers/run/scene.txt").read_text().replace("1477", "")


def test_a_subtask_without_any_picture_has_no_score(mme: Path, capsys: pytest.CaptureFixture) -> None:
    [file] = (mme / "MME_Benchmark_release_version/scene/questions_answers_YN").glob("*.txt")
    file.unlink()
    refused = evaluate(mme, capsys, "--allow-missing")
    assert refused.code == 2 and "has no answer to scene that MME's data has too" in refused.err and refused.out == ""


def test_files_that_begin_with_a_dot_are_passed_over(mme: Path, capsys: pytest.CaptureFixture) -> None:
    for name in ("OCR/._0029.txt", "scene/questions_answers_YN/._1.txt", "OCR/.DS_Store"):
        (mme / "MME_Benchmark_release_version" / name).write_bytes(b"\x00\x05\x16\x07")
    (mme / "MME_Benchmark_release_version/OCR/.ipynb_checkpoints").mkdir()
    assert evaluate(mme, capsys).code == 0


def test_blank_lines_of_mme_s_files_are_nothing(mme: Path, capsys: pytest.CaptureFixture) -> None:
    path = mme / "MME_Benchmark_release_version/artwork/questions_answers_YN/14770.txt"
    path.write_bytes(b"\r\n".join(path.read_bytes().splitlines()) + b"\r\n\r\n")
    assert evaluate(mme, capsys).code == 0


def test_a_question_that_mme_asks_twice_is_answered_twice(mme: Path, capsys: pytest.CaptureFixture) -> None:
    path = mme / "MME_Benchmark_release_version/artwork/questions_answers_YN/14770.txt"
    path.write_text(2 * (path.read_text().splitlines()[0] + "\n"))
    answers_with(mme, 1, prompt=records(mme / "answers/run.jsonl")[0]["prompt"], text="Yes")
    assert evaluate(mme, capsys).code == 0
    _lines(mme, lambda lines: lines[1:])
    assert "has none to 1 ('artwork/14770.txt: Is there a dog" in evaluate(mme, capsys).err


def _lines(folder: Path, change: Callable[[list[dict]], list[dict]]) -> None:
    published.lines(folder / "answers/run.jsonl", change(records(folder / "answers/run.jsonl")))


def _truth(folder: Path, text: str) -> None:
    (folder / "MME_Benchmark_release_version/artwork/questions_answers_YN/14770.txt").write_text(text)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: _lines(folder, lambda lines: lines[1:]), "has none to 1 ('artwork/14770.txt: Is there a dog"),
        (lambda folder: _lines(folder, lambda lines: [*lines, lines[3]]), 'run.jsonl line 29 answers "Is there a car'),
        (lambda folder: answers_with(folder, 2, prompt="Is it?"), "line 3 asks 'Is it?' about 'celebrity/images/1477"),
        (lambda folder: answers_with(folder, 2, question_id="201307251"), "about '201307251', which MME does not"),
        (lambda folder: answers_with(folder, 2, question_id=7), "about 7, which MME does not"),
        (lambda folder: answers_with(folder, 2, text=None), "run.jsonl line 3 has None; mend it"),
        (lambda folder: (folder / "answers/run.jsonl").write_text('{"question_id": "a', "utf-8"), "line 1 is none"),
        (lambda folder: (folder / "answers/run.jsonl").write_text(""), "run.jsonl' is empty"),
        (lambda folder: (folder / "answers/run.jsonl").unlink(), "an answers file must be readable"),
        (lambda folder: _truth(folder, "Is it?\tYes\nIs it\n"), "14770.txt line 2 is 'Is it'; fetch"),
        (lambda folder: _truth(folder, "Is it?\tMaybe\n"), "line 1 is 'Is it?\\tMaybe'"),
        (
            lambda folder: (folder / "MME_Benchmark_release_version").rename(folder / "elsewhere"),
            "MME_Benchmark_release_version' has none; give",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2_and_nothing_is_written(
    mme: Path, capsys: pytest.CaptureFixture, spoil: Callable[[Path], None], complaint: str
) -> None:
    spoil(mme)
    refused = evaluate(mme, capsys)
    assert refused.code == 2 and complaint in refused.err and "\n" not in refused.err and refused.out == ""
    assert not (mme / "eval_tool").exists()
