"""`--conv-mode` in commands: auto, a template that contradicts the checkpoint, and what cannot be known."""

import json
import shutil
from pathlib import Path

import pytest
from commands import TINY, call
from conftest import PARITY

from llava.conversation import conv_templates
from llava.errors import InputError
from llava.eval.runs.conv_mode import own_mode
from llava.eval.runs.settings import read_settings

IMAGES = PARITY / "images"
LLAMA_3 = PARITY / "families/llama3-next"
WARNED = (
    "WARNING: the conversation template vicuna_v1 is not one that llama3-next was trained with: answers end with "
    "'<|eot_id|>' there, not with '</s>'; --conv-mode auto takes its own, llava_llama_3"
)


def run_on(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture, *flags: object) -> object:
    """One question of a runner, three tokens."""
    questions = tmp_path / "questions.jsonl"
    questions.write_text(json.dumps({"question_id": 0, "image": "3.png", "text": "What is it?"}) + "\n")
    given = ["--model-path", path, "--image-folder", IMAGES, "--question-file", questions, "--temperature", 0]
    given += ["--answers-file", tmp_path / "answers.jsonl", "--max_new_tokens", 3, *flags]
    return call("model_vqa_loader", capsys, *given)


def test_auto_takes_the_checkpoints_own_and_says_which(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    done = run_on(LLAMA_3, tmp_path, capsys, "--conv-mode", "auto")
    assert done.code == 0 and "WARNING" not in done.err
    assert "\nLLaVA-NeXT on LLaMA (5 layers), CLIP 336/14 inside the checkpoint, anyres up to 5 views" in done.out
    assert read_settings(tmp_path / "answers.jsonl")["conv_mode"] == "llava_llama_3"


def test_a_template_against_the_checkpoint_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    done = run_on(LLAMA_3, tmp_path, capsys, "--conv-mode", "vicuna_v1")
    assert done.code == 0 and [line for line in done.err.splitlines() if "WARNING" in line] == [WARNED]
    assert read_settings(tmp_path / "answers.jsonl")["conv_mode"] == "vicuna_v1"


def test_one_that_fits_is_not_spoken_of(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert "WARNING" not in run_on(TINY, tmp_path, capsys).err  # llava_v1, the runner's default


@pytest.mark.parametrize("command", ["run_llava", "visualize", "precision", "curve"])
def test_every_command_knows_auto(command: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = unknown(tmp_path)
    more = {
        "run_llava": ["--image-file", IMAGES / "0.png", "--query", "a"],
        "visualize": ["--image", IMAGES / "0.png", "--question", "a", "--output", tmp_path / "a.png", "--retain", 64],
        "precision": ["--question-file", tmp_path / "none.jsonl", "--retain", 64],
        "curve": [],
    }
    done = call(command, capsys, "--model-path", folder, "--conv-mode", "auto", *more[command])
    assert done.code == 2 and "--conv-mode auto takes the checkpoint's own template: nothing in 'odd'" in done.err


def unknown(tmp_path: Path) -> Path:
    """A checkpoint of which nothing says how it was trained."""
    folder = tmp_path / "odd"
    shutil.copytree(TINY, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"mm_projector_type": "linear", "_name_or_path": "./mine"}))
    return folder


def test_what_the_config_was_made_from_counts(tmp_path: Path) -> None:
    folder = unknown(tmp_path)
    with pytest.raises(InputError, match="nothing in 'odd'"):
        own_mode(str(folder))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"_name_or_path": "lmsys/vicuna-7b-v1.5"}))
    assert own_mode(str(folder)) == "vicuna_v1"


def test_a_projector_alone_and_an_adapter(tmp_path: Path) -> None:
    projector, adapter = tmp_path / "projector", tmp_path / "adapter"
    for folder, beside in ((projector, "mm_projector.bin"), (adapter, "non_lora_trainables.bin")):
        folder.mkdir()
        shutil.copy(TINY / "config.json", folder)
        (folder / beside).touch()
    (adapter / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="a projector alone was trained on captions.* such as plain, vicuna_v1"):
        own_mode(str(projector), str(TINY))
    assert own_mode(str(adapter), str(TINY)) == "vicuna_v1"


def test_a_chat_template_decides_where_the_recipe_does_not(tmp_path: Path) -> None:
    folder = unknown(tmp_path)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    jinja = "{{ '[INST] <<SYS>>' }}"
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": jinja}))
    assert own_mode(str(folder)) == "llava_llama_2"


def test_another_layout_is_refused_as_the_loader_does(tmp_path: Path) -> None:
    folder = unknown(tmp_path)
    (folder / "config.json").write_text(json.dumps({"model_type": "llava", "text_config": {"model_type": "gemma"}}))
    with pytest.raises(InputError, match="llava-hf"):
        own_mode(str(folder))


def test_an_unknown_name_lists_auto_too(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    done = run_on(TINY, tmp_path, capsys, "--conv-mode", "qwen")
    assert done.code == 2 and all(name in done.err for name in (*conv_templates, "auto"))
