"""LLaVA's first checkpoints are marked as LLaVA when their owner says so, and never otherwise."""

import json
from pathlib import Path

import pytest

from llava.errors import InputError
from llava.model.utils import auto_upgrade

OLD = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "mm_vision_tower": "clip", "x": [1]}


def checkpoint(folder: Path, **changes: object) -> Path:
    """A folder with a configuration; its path has llava in it."""
    path = folder / "llava-13b"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(OLD | changes))
    return path


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """What the person types."""
    monkeypatch.setattr("builtins.input", lambda _: text)


@pytest.mark.parametrize("yes", ["y", "Yes", " Y "])
def test_yes_writes_two_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, yes: str) -> None:
    path = checkpoint(tmp_path)
    answer(monkeypatch, yes)
    auto_upgrade(str(path))
    marked = {"model_type": "llava_llama", "architectures": ["LlavaLlamaForCausalLM"]}
    assert json.loads((path / "config.json").read_text()) == OLD | marked
    answer(monkeypatch, "n")
    auto_upgrade(str(path))  # marked now: nobody is asked


@pytest.mark.parametrize("no", ["n", "", "nay"])
def test_anything_else_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no: str) -> None:
    path = checkpoint(tmp_path)
    answer(monkeypatch, no)
    with pytest.raises(InputError, match="was not upgraded"):
        auto_upgrade(str(path))
    assert json.loads((path / "config.json").read_text()) == OLD


@pytest.mark.parametrize("family", ["mpt", None, 3, "opt"])
def test_other_families_are_refused(tmp_path: Path, family: object) -> None:
    with pytest.raises(InputError, match="only LLaMA checkpoints can become LLaVA"):
        auto_upgrade(str(checkpoint(tmp_path, model_type=family)))


def test_what_is_elsewhere_is_left_alone(tmp_path: Path) -> None:
    auto_upgrade(str(checkpoint(tmp_path, model_type="llava")))
    (tmp_path / "vicuna").mkdir()
    (tmp_path / "vicuna" / "config.json").write_text("{}")
    auto_upgrade(str(tmp_path / "vicuna"))
    auto_upgrade("liuhaotian/llava-v1.5-7b")
