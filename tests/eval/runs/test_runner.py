"""From a question file to an answers file, through the command line."""

import argparse
import json
import re
from pathlib import Path

import pytest
from commands import TINY, call, loader_flags, questions, records, texts
from conftest import CASES, METHOD_OF_CASE, PARITY, Load, reference

from llava.eval import model_vqa, model_vqa_loader, model_vqa_mmbench, model_vqa_science
from llava.eval.runs.command import Parser
from llava.eval.runs.runner import add_runner_options

LISTS = ("layer_list", "image_token_list", "image_token_ratio_list")


def method_flags(case: dict) -> list[object]:
    """A parity case's method as flags."""
    flags: list[object] = ["--method", METHOD_OF_CASE.get(case["method"], case["method"])]
    for name, value in case.get("params", {}).items():
        flags += [f"--{name}", json.dumps(value).replace(" ", "") if name in LISTS else value]
    return flags


@pytest.mark.parametrize("case", [case for case in CASES if "next" not in case["name"]], ids=lambda case: case["name"])
def test_decoded_text_is_the_official_one(
    load: Load, tmp_path: Path, capsys: pytest.CaptureFixture, case: dict
) -> None:
    """The official runs did not stop at the end token; the command does."""
    ids = reference(case)["generated_ids"].tolist()
    if 2 in ids:
        ids = ids[: ids.index(2)]
    record = {"question_id": 7, "image": case["image"], "text": case["question"]}
    (tmp_path / "questions.jsonl").write_text(json.dumps(record) + "\n")
    flags = loader_flags(tmp_path, *method_flags(case), "--max_new_tokens", len(ids), model=PARITY / case["checkpoint"])
    assert call("model_vqa_loader", capsys, *flags).code == 0
    wanted = load(case["checkpoint"]).tokenizer.decode(ids, skip_special_tokens=True).strip()
    assert texts(tmp_path / "answers/a.jsonl") == [wanted]


def test_answers_file_is_llavas_to_the_byte(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    questions(tmp_path)
    done = call("model_vqa_loader", capsys, *loader_flags(tmp_path, "--retain", 32))
    assert done.code == 0 and done.out.endswith(f"4 answers in {tmp_path}/answers/a.jsonl\n")
    content = (tmp_path / "answers/a.jsonl").read_bytes().decode("ascii")
    alphabet = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    assert content.endswith("}\n") and "\r" not in content
    lines = content.split("\n")[:-1]
    for at, (line, record) in enumerate(zip(lines, records(tmp_path / "answers/a.jsonl"), strict=True)):
        prompt = json.dumps(json.loads((tmp_path / "questions.jsonl").read_text().splitlines()[at])["text"])
        answer = record["answer_id"]
        assert re.fullmatch(f"[{alphabet}]{{22}}", answer)
        assert line == (
            f'{{"question_id": "q{at}", "prompt": {prompt}, "text": {json.dumps(record["text"])}, '
            f'"answer_id": "{answer}", "model_id": "llava-tiny-12l", "metadata": {{}}}}'
        )
    assert '"prompt": "O\\u00f9?"' in lines[2]
    assert len({record["answer_id"] for record in records(tmp_path / "answers/a.jsonl")}) == 4


def test_a_budget_is_the_schedule_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    questions(tmp_path)
    short = call("model_vqa_loader", capsys, *loader_flags(tmp_path, "--retain", 32, model=PARITY / "llava-tiny"))
    schedule = "--dominant 42 --contextual 6 --layer_list [8,16,24] --image_token_list [[30,5],[22,4],[16,3]]"
    assert short.out.startswith(
        f"method visiondrop: {schedule}: 48 in 8 layers, 35 in 8 layers, 26 in 8 layers, 19 in 8 layers\n"
        f"average 32.0 image tokens per LLM layer, 5.6 % of 576; LLM prefill with "
    )
    flags = loader_flags(tmp_path, *schedule.split(), answers="b.jsonl", model=PARITY / "llava-tiny")
    written = call("model_vqa_loader", capsys, *flags)
    assert written.out.splitlines()[:2] == short.out.splitlines()[:2]
    assert texts(tmp_path / "b.jsonl") == texts(tmp_path / "answers/a.jsonl")


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ([], "none"),
        (["--retain", 64], "visiondrop"),
        (["--dominant", 54, "--contextual", 10, "--layer_list", "[]", "--image_token_list", "[]"], "visiondrop"),
        (["--dominant", 54, "--contextual", 10, "--method", "visionzip"], "visionzip"),
        (["--method", "pyramiddrop", "--retain", 192], "pyramiddrop"),
    ],
)
def test_method_is_visiondrop_where_its_flags_are_given(
    tmp_path: Path, capsys: pytest.CaptureFixture, flags: list[object], name: str
) -> None:
    questions(tmp_path, 1)
    done = call("model_vqa_loader", capsys, *loader_flags(tmp_path, *flags))
    assert done.out.startswith(f"method {name}: ")
    settings = json.loads((tmp_path / "answers/a.jsonl.settings.json").read_text())
    assert settings["method"] == name and settings["answers"] == 1


@pytest.mark.parametrize("method", [[], ["--retain", 64]])
def test_batches_answer_as_single_questions_do(
    tmp_path: Path, capsys: pytest.CaptureFixture, method: list[object]
) -> None:
    questions(tmp_path, 7)
    call("model_vqa_loader", capsys, *loader_flags(tmp_path, *method))
    call("model_vqa_loader", capsys, *loader_flags(tmp_path, *method, "--batch-size", 3, answers="b.jsonl"))
    assert texts(tmp_path / "b.jsonl") == texts(tmp_path / "answers/a.jsonl")


def test_chunks_put_together_are_the_whole(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Six chunks of ten questions are five chunks of two and an empty one, LLaVA's way of cutting."""
    questions(tmp_path, 10)
    call("model_vqa_loader", capsys, *loader_flags(tmp_path, "--retain", 32, answers="whole.jsonl"))
    pieces = [tmp_path / f"6_{index}.jsonl" for index in range(6)]
    for index, piece in enumerate(pieces):
        flags = loader_flags(tmp_path, "--retain", 32, "--num-chunks", 6, "--chunk-idx", index, answers=piece.name)
        assert call("model_vqa_loader", capsys, *flags).code == 0
    assert [len(records(piece)) for piece in pieces] == [2, 2, 2, 2, 2, 0]
    assert call("merge", capsys, *pieces, "--answers-file", tmp_path / "merged.jsonl").code == 0
    drop = {"answer_id"}
    whole, merged = (
        [{key: value for key, value in record.items() if key not in drop} for record in records(tmp_path / name)]
        for name in ("whole.jsonl", "merged.jsonl")
    )
    assert merged == whole


def test_sampling_is_repeated_by_its_seed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    questions(tmp_path, 2)
    hot = ["--temperature", 2.0, "--top_p", 0.95, "--max_new_tokens", 8]
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        call("model_vqa_loader", capsys, *loader_flags(tmp_path, *hot, "--seed", seed, answers=f"{name}.jsonl"))
    assert texts(tmp_path / "a.jsonl") == texts(tmp_path / "b.jsonl") != texts(tmp_path / "c.jsonl")


def test_worker_processes_read_pictures(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    questions(tmp_path, 5)
    call("model_vqa_loader", capsys, *loader_flags(tmp_path))
    call("model_vqa_loader", capsys, *loader_flags(tmp_path, "--num-workers", 1, "--batch-size", 2, answers="b.jsonl"))
    assert texts(tmp_path / "b.jsonl") == texts(tmp_path / "answers/a.jsonl")


# Section by section of LLaVA's runners: flag, type, default of the loader.
LLAVA_FLAGS = {
    "model_path": (str, "facebook/opt-350m"),
    "model_base": (str, None),
    "image_folder": (str, ""),
    "question_file": (str, "tables/question.jsonl"),
    "answers_file": (str, "answer.jsonl"),
    "conv_mode": (str, "llava_v1"),
    "num_chunks": (int, 1),
    "chunk_idx": (int, 0),
    "temperature": (float, 0.2),
    "top_p": (float, None),
    "num_beams": (int, 1),
    "max_new_tokens": (int, 128),
}


def options_of(module: object) -> dict[str, argparse.Action]:
    """The options a runner's parser has, by destination."""
    caught: list[Parser] = []

    def catch(parser: Parser, *_: object) -> argparse.Namespace:
        caught.append(parser)
        raise SystemExit

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Parser, "parse_args", catch)
        module.main()
    first: dict[str, argparse.Action] = {}
    for action in caught[0]._actions:
        first.setdefault(action.dest, action)
    return first


@pytest.mark.parametrize(
    ("module", "changed"),
    [
        (model_vqa_loader, {}),
        (model_vqa, {"max_new_tokens": (int, 1024)}),
        (model_vqa_mmbench, {"max_new_tokens": (int, 1024), "lang": (str, "en")}),
        (
            model_vqa_science,
            {
                "max_new_tokens": (int, 1024),
                "conv_mode": (str, "llava_v0"),
                "question_file": (str, "tables/question.json"),
            },
        ),
    ],
)
def test_flags_and_defaults_are_llavas(module: object, changed: dict) -> None:
    found = options_of(module)
    for name, (kind, default) in (LLAVA_FLAGS | changed).items():
        spelling = f"--{name}" if name in ("top_p", "num_beams", "max_new_tokens") else f"--{name.replace('_', '-')}"
        assert found[name].option_strings == [spelling]
        assert found[name].default == default, name
        assert type((found[name].type or str)("1")) is kind, name


@pytest.mark.parametrize(
    ("module", "flags"),
    [
        (model_vqa_mmbench, ["--all-rounds", "--single-pred-prompt"]),
        (model_vqa_science, ["--single-pred-prompt", "--answer-prompter"]),
    ],
)
def test_switches_are_llavas(module: object, flags: list[str]) -> None:
    found = {spelling: action for action in options_of(module).values() for spelling in action.option_strings}
    assert all((found[flag].nargs, found[flag].default) == (0, False) for flag in flags)


def test_every_setting_of_a_method_is_a_flag() -> None:
    parser = Parser()
    add_runner_options(parser, "q")
    flags = {action.dest for action in parser._actions}
    assert {"dominant", "contextual", "layer_list", "image_token_list", "image_token_ratio_list", "retain"} <= flags


def test_flags_are_never_guessed_from_a_part(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert call("model_vqa_loader", capsys, "--domi", 3).code == 2


def test_images_of_a_palette_and_with_transparency_are_made_rgb(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from PIL import Image

    picture = Image.open(PARITY / "images/0.png").convert("RGB")
    for number, mode in enumerate(("P", "RGBA", "L")):
        picture.convert(mode).save(tmp_path / f"{number}.png")
    lines = [json.dumps({"question_id": at, "image": f"{at}.png", "text": "Is it?"}) for at in range(3)]
    (tmp_path / "questions.jsonl").write_text("\n".join(lines) + "\n")
    done = call("model_vqa_loader", capsys, *loader_flags(tmp_path, "--image-folder", tmp_path, "--batch-size", 3))
    assert done.code == 0 and len(records(tmp_path / "answers/a.jsonl")) == 3


def test_shown_answers_are_those_of_the_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    questions(tmp_path)
    done = call("model_vqa_loader", capsys, *loader_flags(tmp_path, "--show", 2))
    shown = [record for record in records(tmp_path / "answers/a.jsonl")][:2]
    assert done.out.count("\nQ: ") == 2
    assert all(f"\nQ: {record['prompt']}\nA: {record['text']}\n" in done.out for record in shown)


def test_answers_file_without_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions(tmp_path, 1)
    monkeypatch.chdir(tmp_path)
    flags = loader_flags(tmp_path, "--answers-file", "answer.jsonl", "--model-path", TINY.resolve())
    assert call("model_vqa_loader", capsys, *flags).code == 0 and len(records(tmp_path / "answer.jsonl")) == 1
