"""Benchmarks under many methods: scored as their own scorers do, from small files in the published formats."""

import json
import random
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from commands import TINY, Outcome, call, call_script
from published import WRITERS, lines, picture, question, write_json

from llava.eval.judging.items import Item, every_nth_picture, questions_of, scores_of, single
from llava.eval.judging.kinds import KINDS, NAMES, place_of
from llava.eval.judging.uncertainty import score_and_margin
from llava.eval.runs.questions import Question

SCORED = [name for name in NAMES if name not in ("shapes", "vqav2", "vizwiz")]  # with answers in their usual files
# Of all answers some are right under every rule, some wrong, some odd.
SAID = ["Yes", "B", "no.", "dakota", "A", "Yes, there is", "b", "No", "red", "The answer is B.", "left", ""]


def annotated(name: str, data: Path) -> None:
    """The validation sets of VQAv2 and VizWiz, whose answers are public."""
    answers = [["red"] * 3 + ["dark red"] * 7, ["Yes"] * 10, ["no"] * 4 + ["yes"] * 6]
    listed = [[{"answer": text, "answer_id": n} for n, text in enumerate(own)] for own in answers]
    if name == "vqav2":
        asked = [question(n, f"{n // 2}.jpg", f"What is {n}?") for n in range(3)]
        lines(data / "vqav2/llava_vqav2_mscoco_val2014.jsonl", asked)
        records = [
            {"question_id": n, "question_type": "what", "answer_type": "other", "answers": own}
            for n, own in enumerate(listed)
        ]
        write_json(data / "vqav2/v2_mscoco_val2014_annotations.json", {"annotations": records})
        folder = data / "vqav2/val2014"
    else:
        asked = [question(n, f"{n}.jpg", "What is this?") for n in range(3)]
        lines(data / "vizwiz/llava_val.jsonl", asked)
        kinds = {"answer_type": "other", "answerable": 1, "question": "What is this?"}
        write_json(
            data / "vizwiz/val.json", [{"image": f"{n}.jpg", "answers": a} | kinds for n, a in enumerate(listed)]
        )
        folder = data / "vizwiz/val"
    for number in range(3):
        picture(folder / f"{number}.jpg", number)


def answered(items: list[Item], path: Path) -> list[str]:
    """Answers to all that is asked, also written as a runner writes them: of every other item as right as can be."""
    asked, texts = questions_of(items), []
    for number, item in enumerate(items):
        count = len(item.questions)
        choices = product("ABCD", repeat=count) if count > 1 else ((text,) for text in SAID)
        odd = tuple(SAID[(5 * number + at) % len(SAID)] for at in range(count))
        texts += odd if number % 2 else max(choices, key=item.judge)
    lines(path, [one.head | {"text": text} | one.tail for one, text in zip(asked, texts)])
    return texts


def scorer(name: str, data: Path, answers: Path, capsys: pytest.CaptureFixture) -> Outcome:
    """The benchmark's own command on an answers file."""
    _, questions, truth, _ = place_of(name, str(data))
    if name == "gqa":
        predictions = data / "predictions.json"
        assert call_script("convert_gqa_for_eval", capsys, "--src", answers, "--dst", predictions).code == 0
        return call("eval_gqa", capsys, "--questions", truth, "--predictions", predictions)
    given: list[object] = ["--result-file", answers]
    if name == "mme":
        return call("eval_mme", capsys, *given, "--data", truth, "--output-dir", data / "mme")
    if name == "sqa":
        return call("eval_science_qa", capsys, *given, "--base-dir", truth, "--allow-missing")
    if name == "pope":
        return call("eval_pope", capsys, *given, "--annotation-dir", truth, "--question-file", questions)
    given += ["--annotation-file", truth]
    given += ["--question-file", questions] if name in ("vqav2", "vizwiz") else []
    return call({"mmbench_cn": "eval_mmbench"}.get(name, f"eval_{name}"), capsys, *given)


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], list[Item]]:
    """Writes a small copy of a benchmark and reads it."""

    def reading(name: str) -> list[Item]:
        (WRITERS[name] if name in SCORED else lambda folder: annotated(name, folder))(tmp_path)
        rule, *files = place_of(name, str(tmp_path))
        return KINDS[rule].read(*files)

    return reading


@pytest.mark.parametrize("name", [*SCORED, "vqav2", "vizwiz"])
def test_the_score_is_that_of_the_benchmarks_own_scorer(
    name: str, read: Callable[[str], list[Item]], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    items = read(name)
    scores = scores_of(items, answered(items, tmp_path / "answers.jsonl"))
    found = scorer(name, tmp_path, tmp_path / "answers.jsonl", capsys)
    assert found.code == 0, found.err
    official = KINDS[name].official
    ours = official(items, scores) if official else 100 * sum(scores) / len(scores)
    theirs = json.loads(found.out.splitlines()[-1])["score"]
    rounded = 0.005 if name in ("vqav2", "vizwiz") else 1e-9  # official scores of two digits
    assert ours == pytest.approx(theirs, abs=rounded) and theirs > 0
    assert theirs < (2800 if name == "mme" else 100)


def test_mmbench_is_asked_in_every_order_and_right_only_in_all(read: Callable[[str], list[Item]]) -> None:
    items = read("mmbench")
    assert [len(item.questions) for item in items] == [4, 3] and len({item.image for item in items}) == 2
    assert scores_of(items, ["B", "C", "D", "A", "B", "C", "A"]) == [1.0, 1.0]
    assert scores_of(items, ["B", "C", "D", "D", "B", "C", "A"]) == [0.0, 1.0]


def test_science_is_asked_with_pictures_alone(read: Callable[[str], list[Item]]) -> None:
    items = read("sqa")
    assert len(items) == 2 and all(item.questions[0].image is not None for item in items)


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "complaint"),
    [
        ("pope", "pope/coco/coco_pope_random.json", "a dog", "a cat", "a question of POPE needs a label"),
        ("textvqa", "textvqa/TextVQA_0.5.1_val.json", "camera 0", "camera 9", "TextVQA's questions must be annotated"),
        ("mme", "MME/llava_mme.jsonl", "a dog in this count", "a cat in this count", "questions must be MME's"),
        ("gqa", "gqa/llava_gqa_testdev_balanced.jsonl", "201307250", "999", "999"),
        ("seed", "seed_bench/llava-seed-bench.jsonl", "101669", "999", "999"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    tmp_path: Path, name: str, file: str, old: str, new: str, complaint: str
) -> None:
    WRITERS[name](tmp_path)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new))
    rule, *files = place_of(name, str(tmp_path))
    with pytest.raises(ValueError, match=complaint):
        KINDS[rule].read(*files)


def toy(count: int, label: Callable[[int], str] = lambda _: "yes") -> list[Item]:
    """Items about a picture each, in two categories."""
    asked = [Question(f"line {at}", "?", None, {"question_id": at}) for at in range(count)]
    return [
        single(one, f"{at}.png", "ab"[at % 2], lambda text: text == "yes", label(at)) for at, one in enumerate(asked)
    ]


def test_every_nth_picture_keeps_all_its_items() -> None:
    items = [*toy(6), *toy(6)]
    assert [item.image for item in every_nth_picture(items, 3)] == ["0.png", "3.png", "0.png", "3.png"]


def test_the_jackknifes_margin_of_a_mean_is_nearly_the_usual_one() -> None:
    items, source = toy(400), random.Random(0)
    scores = [float(source.random() < 0.6) for _ in items]

    def mean(chosen: object, own: list[float]) -> float:
        return 100 * sum(own) / len(own)

    value, margin = score_and_margin(items, [scores], mean)
    share = sum(scores) / 400
    assert value == pytest.approx(100 * share)
    assert margin is not None and margin == pytest.approx(196 * (share * (1 - share) / 400) ** 0.5, rel=0.6)


def test_there_is_no_margin_where_leaving_out_pictures_leaves_out_a_category() -> None:
    items = toy(30)
    items[4] = Item(items[4].questions, items[4].image, "alone", items[4].judge)
    assert score_and_margin(items, [[1.0] * 30], lambda chosen, own: float(len(own))) == (30.0, None)


def test_several_benchmarks_in_one_call(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    names = ["pope", "textvqa"]
    for name in names:
        WRITERS[name](tmp_path)
    flags = ["--model-path", TINY, "--device", "cpu", "--data", tmp_path, "--benchmark", *names, "--divisors", 9]
    flags += ["--methods", "downsample", "--max_new_tokens", 1, "--output", tmp_path / "board"]
    found = call("leaderboard", capsys, *flags)
    assert found.code == 0, found.err
    boards = json.loads((tmp_path / "board.json").read_text())["benchmarks"]
    assert [(board["name"], board["questions"]) for board in boards] == [("pope", 12), ("textvqa", 4)]
    assert [point["official"] is None for board in boards for point in board["points"]] == [False, True]
    assert "The benchmark's own score, mean of three F1, %:" in found.out
    assert {path.name for path in tmp_path.glob("board*.png")} == {f"board_{name}.png" for name in names}
