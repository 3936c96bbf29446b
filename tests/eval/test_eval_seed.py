"""SEED-Bench: accuracy by type and data, its upload file to the byte, ids given twice, complaints."""

import json
from collections.abc import Callable
from pathlib import Path

import published
import pytest
from commands import Outcome, call, call_script

FORM = (
    "Instances Counting: 66.67%\nAction Recognition: 100.00%\nTotal accuracy: 75.00%\n"
    "image accuracy: 66.67%\nvideo accuracy: 100.00%\n"
)


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    """The benchmark's folder, three of four answers right; ids of pictures are numbers in the answers file."""
    published.seed(tmp_path)
    answer(tmp_path / "seed_bench", {101669: "B", "v0": "B", 101671: "B.", 101670: "B"})
    return tmp_path / "seed_bench"


def answer(folder: Path, texts: dict, *more: dict) -> None:
    """Write an answers file."""
    records = [{"question_id": name, "prompt": "?", "text": text} for name, text in texts.items()]
    published.lines(folder / "merge.jsonl", [*records, *more])


def flags(folder: Path) -> tuple[object, ...]:
    """Both files."""
    return "--annotation-file", folder / "SEED-Bench.json", "--result-file", folder / "merge.jsonl"


def evaluate(folder: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    """The scorer."""
    return call("eval_seed", capsys, *flags(folder), *more)


def convert(folder: Path, capsys: pytest.CaptureFixture) -> Outcome:
    """The converter, into a folder that is not there yet."""
    where = ("--result-upload-file", folder / "answers_upload/run.jsonl")
    return call_script("convert_seed_for_submission", capsys, *flags(folder), *where)


def annotations(folder: Path, change: Callable[[dict], object]) -> None:
    """Change the annotation file."""
    content = json.loads((folder / "SEED-Bench.json").read_text())
    change(content)
    published.write_json(folder / "SEED-Bench.json", content)


def test_printed_form_and_last_line(seed: Path, capsys: pytest.CaptureFixture) -> None:
    done = evaluate(seed, capsys)
    assert done.code == 0 and done.out.startswith(FORM + "\n{")
    assert done.err == "WARNING: 1 of 4 answers are no letter of A, B, C, D alone and count as wrong: 101671"
    assert json.loads(done.out.splitlines()[-1]) == {
        "benchmark": "seed",
        "metric": "accuracy",
        "score": 75.0,
        "questions": 4,
        "missing": 0,
        "undecided": 1,
        "left_out": 0,
        "image": pytest.approx(200 / 3),
        "video": 100.0,
        "types": {"Instances Counting": pytest.approx(200 / 3), "Action Recognition": 100.0},
    }


def test_upload_file_to_the_byte(seed: Path, capsys: pytest.CaptureFixture) -> None:
    assert convert(seed, capsys) == Outcome(0, FORM, "")
    assert (seed / "answers_upload/run.jsonl").read_bytes() == (
        b'{"question_id": "101669", "prediction": "B"}\n{"question_id": "101670", "prediction": "B"}\n'
        b'{"question_id": "101671", "prediction": "B."}\n{"question_id": "v0", "prediction": "B"}\n'
    )


@pytest.mark.parametrize("text", ["b", "B.", " B", "B. Two", "Two", ""])
def test_only_the_letter_itself_is_right(seed: Path, capsys: pytest.CaptureFixture, text: str) -> None:
    answer(seed, {101669: "B", "v0": text, 101671: "B", 101670: "B"})
    assert "\nvideo accuracy: 0.00%\n" in evaluate(seed, capsys).out


def test_types_are_in_the_order_of_their_ids_and_data_without_questions_is_left_out(
    seed: Path, capsys: pytest.CaptureFixture
) -> None:
    def change(content: dict) -> None:
        content["question_type"] = {"Action Recognition": 10, "Unused": 7, "Instances Counting": 5}
        content["questions"][3]["data_type"] = "image"

    annotations(seed, change)
    assert evaluate(seed, capsys).out.startswith(
        "Instances Counting: 66.67%\nAction Recognition: 100.00%\nTotal accuracy: 75.00%\nimage accuracy: 75.00%\n\n{"
    )


@pytest.mark.parametrize("command", [evaluate, convert])
def test_missing_answers_are_refused_and_nothing_is_written(
    seed: Path, capsys: pytest.CaptureFixture, command: Callable[..., Outcome]
) -> None:
    answer(seed, {101669: "B", "v0": "B"})
    refused = command(seed, capsys)
    assert refused.code == 2 and "has none to 2 (101670, 101671); run the benchmark again" in refused.err
    assert "\n" not in refused.err and refused.out == "" and not (seed / "answers_upload").exists()


def test_missing_answers_that_are_allowed_count_as_wrong(seed: Path, capsys: pytest.CaptureFixture) -> None:
    answer(seed, {101669: "B", "v0": "B"})
    done = evaluate(seed, capsys, "--allow-missing")
    assert "\nTotal accuracy: 50.00%\nimage accuracy: 33.33%\nvideo accuracy: 100.00%\n" in done.out
    assert done.err == "WARNING: 2 questions have no answer and count as wrong: 101670, 101671"
    last = json.loads(done.out.splitlines()[-1])
    assert (last["benchmark"], last["missing"], last["left_out"]) == ("seed", 2, 0)


def test_without_videos_the_pictures_are_scored_and_called_so(seed: Path, capsys: pytest.CaptureFixture) -> None:
    answer(seed, {101669: "B", 101671: "C", 101670: "B"})
    done = evaluate(seed, capsys)
    assert done.out.startswith("Instances Counting: 66.67%\nTotal accuracy: 66.67%\nimage accuracy: 66.67%\n\n{")
    assert done.err == "WARNING: 1 questions about videos have no answer, all of them, and are left out: 'v0'"
    last = json.loads(done.out.splitlines()[-1])
    assert (last["benchmark"], last["metric"], last["questions"]) == ("seed_image", "image accuracy", 3)
    assert last["score"] == last["image"] == pytest.approx(200 / 3) and last["left_out"] == 1 and "video" not in last
    assert convert(seed, capsys).code == 0
    assert len((seed / "answers_upload/run.jsonl").read_text().splitlines()) == 3


def test_an_id_that_is_asked_twice_is_answered_twice_and_the_last_counts(
    seed: Path, capsys: pytest.CaptureFixture
) -> None:
    annotations(seed, lambda content: content["questions"].append(content["questions"][1] | {"answer": "C"}))
    texts = {101669: "B", "v0": "B", 101671: "B.", 101670: "B"}
    answer(seed, texts, {"question_id": 101670, "text": "C"})
    done = convert(seed, capsys)
    assert "\nTotal accuracy: 60.00%\n" in done.out
    assert done.err == "WARNING: 1 ids are those of several questions, the last answer counts for them all: 101670"
    said = [json.loads(line) for line in (seed / "answers_upload/run.jsonl").read_text().splitlines()]
    assert [line["prediction"] for line in said if line["question_id"] == "101670"] == ["C", "C"]
    answer(seed, texts, {"question_id": 101670, "text": "C"}, {"question_id": "101670", "text": "C"})
    refused = evaluate(seed, capsys)
    assert refused.code == 2 and "merge.jsonl line 6 answers 101670 again" in refused.err


@pytest.mark.parametrize("command", [evaluate, convert])
@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: answer(folder, {5: "B"}), "merge.jsonl' is about 5, which is not in"),
        (lambda folder: answer(folder, {"v0": "B"}, {"question_id": "v0", "text": "B"}), "line 2 answers 'v0' again"),
        (lambda folder: answer(folder, {"v0": None}), "line 1 has None; mend it"),
        (lambda folder: (folder / "merge.jsonl").write_text('{"question_id": "v0", "te\n'), "line 1 is none"),
        (lambda folder: (folder / "merge.jsonl").write_text(""), "merge.jsonl' is empty"),
        (lambda folder: (folder / "merge.jsonl").unlink(), "an answers file must be readable"),
        (lambda folder: (folder / "SEED-Bench.json").write_text("[]"), "SEED-Bench.json' has not; fetch"),
        (lambda folder: (folder / "SEED-Bench.json").write_text('{"questions": ['), "annotations must be JSON"),
        (lambda folder: annotations(folder, lambda c: c["questions"][2].pop("answer")), "question 3 lacks answer"),
        (lambda folder: annotations(folder, lambda c: c["question_type"].clear()), "question 1 has 5 and 'image'"),
        (
            lambda folder: annotations(folder, lambda c: c["questions"][0].update(question_type_id=[5])),
            "question 1 has [5] and 'image'",
        ),
        (
            lambda folder: annotations(folder, lambda c: c["questions"][0].update(data_type="audio")),
            "question 1 has 5 and 'audio'",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2_and_nothing_is_written(
    seed: Path,
    capsys: pytest.CaptureFixture,
    command: Callable[[Path, pytest.CaptureFixture], Outcome],
    spoil: Callable[[Path], None],
    complaint: str,
) -> None:
    spoil(seed)
    refused = command(seed, capsys)
    assert refused.code == 2 and complaint in refused.err and "\n" not in refused.err and refused.out == ""
    assert not (seed / "answers_upload").exists()
