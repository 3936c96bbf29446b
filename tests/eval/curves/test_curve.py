"""The accuracy curve: which runs there are, what they answer, the statistics, and the files."""

import json
import random
from pathlib import Path

import pytest
import torch
from commands import TINY, call, questions
from conftest import PARITY, Load
from PIL import Image
from published import lines

from llava.eval.curve import all_methods
from llava.eval.curves.points import mean_and_margin, points_of
from llava.eval.curves.report import draw, markdown
from llava.eval.curves.runs import Run, Unreached, answer_all, picture_numbers, plan_runs
from llava.eval.model_vqa_loader import read_questions
from llava.eval.runs.loading import Loaded
from llava.reduction import Geometry, available, create

pytestmark = pytest.mark.shallow

SMALL = Geometry(layers=8, patches=256)


def test_every_method_runs_at_every_budget_it_can_reach() -> None:
    runs, unreached = plan_runs(SMALL, all_methods(), [3, 4.5, 9, 18], seeds=3)
    assert set(all_methods()) == set(available()) and all_methods()[-1] == "random"
    assert {run.name for run in runs} == {*available(), "blind"}
    assert [(run.retain, run.seed) for run in runs if run.name == "random"] == [
        (retain, seed) for retain in (85, 57, 28, 14) for seed in range(3)
    ]
    assert [run.retain for run in runs if run.name == "visiondrop"] == [85, 57, 28, 14]
    missed = {(one.name, one.retain): one.reason for one in unreached}
    assert {name for name, _ in missed} == {"pyramiddrop", "fastv", "dart", "v2drop", "sparsevlm", "vtw"}
    assert {retain for _, retain in missed} == {28, 14}  # one of eight layers of all tokens is 32 already
    assert "got 28, expected more than 32" in missed["pyramiddrop", 28]
    for run in runs:
        assert run.retain is None or abs(run.tokens - run.retain) <= 0.02 * run.retain
        assert run.seed is None or run.reduction.seed == run.seed


def test_plain_model_and_blind_run_once() -> None:
    runs, _ = plan_runs(SMALL, ["none"], [3, 9], seeds=3)
    assert runs == [Run("none", None, create("none"), 256.0), Run("blind", None, create("none"), 256.0)]


def test_margin_is_that_of_independent_questions_where_each_has_its_picture() -> None:
    scores = [1.0] * 80 + [0.0] * 20
    mean, margin = mean_and_margin(scores, [str(number) for number in range(100)])
    assert mean == pytest.approx(80) and margin == pytest.approx(196 * (0.8 * 0.2 / 99) ** 0.5)


def test_margin_grows_where_a_picture_decides_all_its_questions() -> None:
    scores = [1.0] * 80 + [0.0] * 20
    mean, margin = mean_and_margin(scores, [str(number // 10) for number in range(100)])
    # Ten pictures, eight right and two wrong: as if there were ten questions.
    assert mean == pytest.approx(80) and margin == pytest.approx(196 * (0.8 * 0.2 / 9) ** 0.5)


def test_margin_covers_the_truth_as_often_as_it_says() -> None:
    source, covered = random.Random(0), 0
    for _ in range(400):
        difficulty = [source.uniform(0.4, 1) for _ in range(60)]
        scores = [float(source.random() < part) for part in difficulty for _ in range(6)]
        mean, margin = mean_and_margin(scores, [str(number // 6) for number in range(360)])
        covered += abs(mean - 70) <= margin
    assert 0.92 <= covered / 400 <= 0.98


def test_seeds_are_averaged_and_compared_with_the_control_question_by_question() -> None:
    drop = create("visionzip", dominant=8, contextual=2)
    runs = [Run("visionzip", 10, drop, 10.0)]
    runs += [Run("random", 10, create("random", keep=10, seed=seed), 10.0, seed) for seed in (0, 1)]
    truth = [{"image": str(at), "category": "ab"[at % 2]} for at in range(4)]
    right = [[True, True, True, False], [True, False, False, False], [True, True, False, False]]
    zipped, control = points_of(runs, right, truth)
    assert (zipped.accuracy, zipped.right, zipped.kinds) == (75.0, [3], {"a": 100.0, "b": 50.0})
    assert (control.accuracy, control.right, control.asked) == (37.5, [1, 2], 4)
    assert control.kinds == {"a": 50.0, "b": 25.0} and control.above is None
    assert zipped.above == pytest.approx(mean_and_margin([0.0, 0.5, 1.0, 0.0], ["0", "1", "2", "3"]))


def test_equal_pictures_side_by_side_are_one() -> None:
    one, other = torch.zeros(3, 2, 2), torch.ones(3, 2, 2)
    assert picture_numbers([one, one.clone(), other, one, torch.zeros(3, 2, 3)]) == [0, 0, 1, 2, 3]


@torch.inference_mode()
def test_answers_are_those_of_single_questions(load: Load, tmp_path: Path) -> None:
    tokenizer, model, processor, _ = load("llava-tiny-12l")
    loaded = Loaded(tokenizer, model, processor)
    asked = read_questions(str(questions(tmp_path, 3)), str(PARITY / "images"))
    asked = [asked[0], asked[0], asked[2]]  # two about one picture
    runs, _ = plan_runs(model.geometry, ["none", "visiondrop", "pyramiddrop", "random"], [9], 1)
    data = loaded.prepare(asked, "vicuna_v1")
    done, answers = answer_all(loaded, data, runs, batch_size=3, max_new_tokens=3)
    assert [run.tokens for run in done] == pytest.approx([run.tokens for run in runs])
    for run, texts in zip(runs, answers):
        for (ids, pixels, size), text in zip((data[at] for at in range(3)), texts):
            pixels = torch.zeros_like(pixels) if run.name == "blind" else pixels
            new = model.generate(
                ids[None], images=[pixels], image_sizes=[size], reduction=run.reduction, do_sample=False,
                max_new_tokens=3,
            )  # fmt: skip
            assert text == tokenizer.batch_decode(new, skip_special_tokens=True)[0].strip()
    assert len({tuple(texts) for texts in answers}) > 1


@torch.inference_mode()
def test_tokens_are_those_that_were_computed_and_not_the_largest_pictures(load: Load, tmp_path: Path) -> None:
    tokenizer, model, processor, _ = load("llava-tiny-next")
    loaded = Loaded(tokenizer, model, processor)
    for number, size in enumerate([(60, 20), (40, 40)]):
        Image.new("RGB", size, (90, 40 * number, 9)).save(tmp_path / f"{number}.png")
    data = loaded.prepare(read_questions(str(questions(tmp_path, 2)), str(tmp_path)), "vicuna_v1")
    runs, _ = plan_runs(model.geometry, ["random"], [18], 1)
    [done], _ = answer_all(loaded, data, runs, batch_size=2, max_new_tokens=1)
    views = [len(data[at][1]) for at in range(2)]
    assert views[0] < model.geometry.views
    assert done.tokens == runs[0].reduction.keep * sum(views) / 2 < runs[0].tokens  # type: ignore[attr-defined]


@pytest.fixture
def benchmark(tmp_path: Path) -> list[object]:
    """Flags of the command on four questions about two pictures, one method."""
    records = [json.loads(line) for line in questions(tmp_path, 4).read_text().splitlines()]
    records = [record | {"image": f"{at // 2}.png"} for at, record in enumerate(records)]
    lines(tmp_path / "questions.jsonl", records)
    lines(tmp_path / "answers.jsonl", [record | {"answer": "x", "category": "kind"} for record in records])
    return [
        *("--model-path", TINY, "--question-file", tmp_path / "questions.jsonl", "--image-folder", PARITY / "images"),
        *("--annotation-file", tmp_path / "answers.jsonl", "--divisors", 9, 18, "--methods", "random", "pyramiddrop"),
        *("--seeds", 2, "--max_new_tokens", 2, "--output", tmp_path / "out/curve", "--device", "cpu"),
    ]


def test_command_writes_the_same_three_files_each_time(
    benchmark: list[object], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    first = call("curve", capsys, *benchmark)
    assert first.code == 0 and f"written to {tmp_path}/out/curve.md, .json and .png" in first.out
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert set(written) == {"curve.md", "curve.json", "curve.png"}
    found = json.loads(written["curve.json"])
    assert (found["questions"], found["pictures"], found["dtype"]) == (4, 2, "float32")
    assert [(point["name"], point["retain"], point["asked"], len(point["right"])) for point in found["points"]] == [
        ("random", 64, 4, 2),
        ("random", 32, 4, 2),
        ("pyramiddrop", 64, 4, 1),
    ]
    assert [one["retain"] for one in found["unreached"]] == [32]
    assert "pyramiddrop at 32 is not there: --retain of pyramiddrop must lie" in first.out
    assert call("curve", capsys, *benchmark) == first
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == written


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--divisors", 0.5], "--divisors: must be a number from 1 to 1e+06: got '0.5'"),
        (["--image-folder", "/nowhere"], "a question's image must exist: '/nowhere/0.png' does not"),
        (["--methods", "fastest"], "invalid choice: 'fastest'"),
        (["--batch-size", 0], "must be a whole number of at least 1: got '0'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    benchmark: list[object], capsys: pytest.CaptureFixture, flags: list[object], complaint: str
) -> None:
    done = call("curve", capsys, *benchmark, *flags)
    assert done.code == 2 and complaint in done.err and done.err.count("\n") == 0


def test_every_nth_picture_keeps_all_its_questions(benchmark: list[object], capsys: pytest.CaptureFixture) -> None:
    done = call("curve", capsys, *benchmark, "--every", 2, "--methods", "visionzip", "--divisors", 9)
    assert done.code == 0 and "0 of 2" in done.out


def test_table_shows_what_is_missing(tmp_path: Path) -> None:
    truth = [{"image": str(at), "category": "c"} for at in range(4)]
    runs = [
        Run("none", None, create("none"), 256.0),
        Run("visionzip", 28, create("visionzip", dominant=24, contextual=4), 28.0),
    ]
    points = points_of(runs, [[True] * 4, [True, False, True, False]], truth)
    text = markdown(points, [Unreached("pyramiddrop", 28, "too few")])
    assert "| none | 100.0 ± 0.0 | - |\n| visionzip | - | 50.0 ± 56.6 |\n" in text
    assert "| visionzip | 28.0 | 50.0 | 50.0 | - | 2 of 4 |\n" in text
    assert text.endswith("\npyramiddrop at 28 is not there: too few\n")
    draw(points, str(tmp_path / "curve.png"), "title")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
