"""Checkpoints in transformers' layout: every generation of names, the same answers, and nothing left as it was made."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import call
from conftest import PARITY, Load
from hf_folders import exported, qwens  # noqa: F401  fixtures
from safetensors.torch import load_file, save_file
from tiny_checkpoints import copied, qwen, reconfigure, rename

from llava.errors import InputError
from llava.eval.runs.preprocessing import picture_changes
from llava.mm_utils import open_image, process_images, tokenizer_image_token
from llava.model.builder import load_pretrained_model
from llava.model.checkpoint.config import read_stored_config
from llava.model.checkpoint.folder import Folder
from llava.model.checkpoint.hf_layout import llavas_own
from llava.reduction.registry import available

IMAGES = PARITY / "families" / "images"
# What releases of transformers have called the tensors since the hub's files, which an export has.
GENERATIONS = {
    "hub": (),
    "4.52": (
        (r"^language_model\.lm_head", "lm_head"),
        (r"^language_model\.model\.", "model.language_model."),
        (r"^(vision_tower|multi_modal_projector|image_newline)", r"model.\1"),
    ),
    "5 in memory": (
        (r"^language_model\.lm_head", "lm_head"),
        (r"^language_model\.model\.", "model.language_model."),
        (r"^vision_tower\.vision_model\.", "model.vision_tower."),
        (r"^(multi_modal_projector|image_newline)", r"model.\1"),
    ),
    "5 saved": ((r"^vision_tower\.vision_model\.", "vision_tower."),),
}


@pytest.mark.parametrize("name", ["llava-tiny", "families/mistral-next", "families/ov-qwen"])
@torch.inference_mode()
def test_every_generation_of_names_is_the_original(
    name: str, exported: dict[str, Path], load: Load, tmp_path: Path
) -> None:
    loaded = load(name)
    picture = open_image(IMAGES / "tall.png")
    for generation, names in list(GENERATIONS.items())[2 if name == "llava-tiny" else 0 :]:
        folder = copied(exported[name], tmp_path / generation)
        rename(folder, names)
        arguments: dict[str, Any] = {"device": "cpu", "torch_dtype": torch.float32}
        tokenizer, model, processor, _ = load_pretrained_model(str(folder), None, "other", **arguments)
        mine, theirs = loaded.model.state_dict(), model.state_dict()
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(theirs[key][: len(mine[key])], mine[key]) for key in mine), generation
        prompt = "USER: <image>\nWhat  is it? ASSISTANT:"
        ids = tokenizer_image_token(prompt, tokenizer, return_tensors="pt")
        assert torch.equal(ids, tokenizer_image_token(prompt, loaded.tokenizer, return_tensors="pt"))
        pixels = process_images([picture], processor, model.config)
        assert torch.equal(pixels[0], process_images([picture], loaded.processor, loaded.model.config)[0])


def test_two_generations_at_once_are_refused(exported: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(exported["llava-tiny"], tmp_path / "both")
    state = load_file(folder / "model.safetensors")
    state["lm_head.weight"] = state["language_model.lm_head.weight"].clone()
    save_file(state, folder / "model.safetensors")
    with pytest.raises(InputError, match="comes once: got 1 under two generations"):
        load_pretrained_model(str(folder), None, "x", device="cpu")


@pytest.fixture(scope="module")
def other_layout(exported: dict[str, Path]) -> Any:
    """The model of the export, as the loader gives it."""
    arguments: dict[str, Any] = {"device": "cpu", "torch_dtype": torch.float32}
    return load_pretrained_model(str(exported["llava-tiny"]), None, "other", **arguments)


@pytest.mark.parametrize("method", available())
@torch.inference_mode()
def test_both_layouts_answer_alike_under_every_method(method: str, other_layout: Any, load: Load) -> None:
    loaded = load("llava-tiny")
    prompt, answers = "USER: <image>\nWhat  is it? ASSISTANT:", []
    for tokenizer, model, processor, _ in (loaded, other_layout):
        ids = tokenizer_image_token(prompt, tokenizer, return_tensors="pt")[None]
        pixels = process_images([open_image(IMAGES / "tall.png")], processor, model.config)
        try:
            named = {"method": method, **({} if method == "none" else {"retain": 144})}
            made = model.generate(ids, images=pixels, reduction=named, do_sample=False, max_new_tokens=3)
            answers.append(tokenizer.batch_decode(made))
        except InputError as refusal:
            answers.append(str(refusal)[:60])
    assert answers[0] == answers[1]


@pytest.mark.parametrize("method", ["visiondrop"])
def test_both_layouts_answer_alike_on_the_command_line(
    method: str, exported: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The command line, with the template of the original and the chat template made of it."""
    questions = tmp_path / "q.jsonl"
    lines = [
        {"question_id": n, "image": image, "text": text}
        for n, (image, text) in enumerate((i, t) for i in ("tall.png", "wide.png") for t in ("What?", "How many  are?"))
    ]
    questions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    answered = []
    for folder, mode in ((PARITY / "llava-tiny", ["--conv-mode", "vicuna_v1"]), (exported["llava-tiny"], [])):
        answers = tmp_path / f"{len(mode)}.jsonl"
        budget = [] if method == "none" else ["--retain", "25%"]
        done = call(
            "model_vqa_loader", capsys, "--model-path", folder, "--question-file", questions, "--image-folder", IMAGES,
            "--answers-file", answers, "--temperature", 0, "--max_new_tokens", 6, "--batch-size", 4, "--device", "cpu",
            "--method", method, *budget, *mode,
        )  # fmt: skip
        assert done.code == 0 or "[CLS]" in done.err or "text tower" in done.err or "--retain" in done.err, done.err
        read = answers.read_text().splitlines() if not done.code else []
        answered.append((done.code, [json.loads(line)["text"] for line in read]))
    assert answered[0] == answered[1]


def test_older_names_are_the_same_model(qwens: dict[str, Path], tmp_path: Path) -> None:
    for name in ("qwen2", "qwen2_5"):
        older = qwen(tmp_path / name, name, older=True)
        states = [
            load_pretrained_model(str(at), None, "x", device="cpu")[1].state_dict() for at in (qwens[name], older)
        ]
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0] | states[1])


def test_pictures_alone_are_refused_for_whole_prompts(qwens: dict[str, Path]) -> None:
    _, model, processor, _ = load_pretrained_model(str(qwens["qwen2_5"]), None, "x", device="cpu")
    with pytest.raises(InputError, match=r"model.generate\(\*\*processor\(text=prompt, images=pictures\)\)"):
        process_images([open_image(IMAGES / "tall.png")], processor, model.config)
    with pytest.raises(InputError, match="a picture must have a place in a prompt: got 1 more"):
        processor(text="Nothing", images=[open_image(IMAGES / "tall.png")])


@pytest.mark.parametrize("command", ["visualize", "curve", "precision", "leaderboard", "attention", "ablation"])
def test_other_commands_say_what_to_use(command: str, qwens: dict[str, Path], capsys: pytest.CaptureFixture) -> None:
    more = {
        "visualize": ("--image", IMAGES / "tall.png", "--question", "What?", "--output", "x.png"),
        "precision": ("--question-file", "playground/shapes/questions.jsonl", "--retain", 9),
        "ablation": ("ranking",),
    }
    done = call(command, capsys, *more.get(command, ()), "--model-path", qwens["qwen2_5"])
    assert done.code == 2 and "llava.eval.model_vqa" in done.err and "llava.hf.reduce" in done.err


def test_what_llava_does_otherwise_is_said_and_offered(
    exported: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The hub's own files: CLIP's processor, which crops the centre, and pinpoints read the other way round."""
    crop = copied(exported["llava-tiny"], tmp_path / "crop")
    said = json.loads((crop / "preprocessor_config.json").read_text())
    said.pop("do_pad")
    (crop / "preprocessor_config.json").write_text(json.dumps(said | {"image_processor_type": "CLIPImageProcessor"}))
    tiles = copied(exported["families/mistral-next"], tmp_path / "tiles")
    pinpoints = json.loads((PARITY / "families/mistral-next/config.json").read_text())["image_grid_pinpoints"]
    reconfigure(tiles, image_grid_pinpoints=pinpoints)
    asked = ("run_llava", capsys, "--model-path", crop, "--image-file", IMAGES / "small.png", "--query", "What?")
    asked += ("--temperature", 0, "--max_new_tokens", 1, "--device", "cpu")
    told = "the centre of a picture is cut out"
    assert told in call(*asked).err and told not in call(*asked, "--preprocessing", "llava").err
    for folder, words, changed in (
        (crop, told, {"image_aspect_ratio": "pad"}),
        (tiles, "of two grids that fit a small picture", {"image_grid_pinpoints": pinpoints}),
    ):
        place = Folder(str(folder))
        changes, said = llavas_own(place, read_stored_config(place))
        assert changes == changed and words in said
        options = argparse.Namespace(model_path=str(folder), preprocessing="llava")
        assert picture_changes(options) == changed
    assert llavas_own(Folder(str(exported["families/mistral-next"])), {}) == ({}, "")


def test_a_kernel_of_llava_is_refused(tmp_path: Path) -> None:
    folder = qwen(tmp_path / "qwen", "qwen2")
    with pytest.raises(InputError, match="shared_prefix is LLaVA's: got it for .* use sdpa"):
        load_pretrained_model(str(folder), None, "qwen", device="cpu", attn_implementation="shared_prefix")
