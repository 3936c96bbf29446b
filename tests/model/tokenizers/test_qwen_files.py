"""Qwen2's tokenizer of `vocab.json` and `merges.txt`: the recorded ids, saved and read again, damaged files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PARITY
from test_family_parity import recorded

from llava.errors import InputError
from llava.mm_utils import tokenizer_image_token
from llava.model.tokenizer import load_tokenizer

SOURCE = PARITY / "families/next-qwen-clip"
TEXT = "<|im_start|>user\nWhat  is\n it? 12 中🙂<|im_end|>\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "qwen"
    made.mkdir()
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copy(SOURCE / name, made)
    return made


def test_ids_are_those_recorded_and_text_comes_back(folder: Path) -> None:
    tokenizer = load_tokenizer(str(folder))
    wanted, (prompt,) = recorded("next-qwen-clip")
    assert tokenizer_image_token(prompt, tokenizer) == wanted["input_ids"].tolist()
    assert len(tokenizer) == 643 and tokenizer.bos_token_id is None and tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.decode(tokenizer(TEXT).input_ids) == TEXT
    assert tokenizer.decode(tokenizer(TEXT).input_ids, skip_special_tokens=True) == "user\nWhat  is\n it? 12 中🙂\n"


def test_saved_and_read_again(folder: Path, tmp_path: Path) -> None:
    wanted = load_tokenizer(str(folder))
    wanted.save_pretrained(tmp_path / "again")
    again = load_tokenizer(str(tmp_path / "again"))
    assert again(TEXT).input_ids == wanted(TEXT).input_ids and len(again) == len(wanted)


def test_settings_name_no_other_files(folder: Path) -> None:
    wanted = load_tokenizer(str(folder))(TEXT).input_ids
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings |= {"vocab_file": "/etc/passwd", "vocab": "/etc/passwd", "merges": "/etc/passwd", "tokenizer_file": "/x"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert load_tokenizer(str(folder))(TEXT).input_ids == wanted


DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no object": (lambda f: (f / "vocab.json").write_text("[1]"), "vocab.json"),
    "not json": (lambda f: (f / "vocab.json").write_text("{"), "vocab.json"),
    "gap": (lambda f: (f / "vocab.json").write_text('{"a": 0, "b": 2}'), "must number its pieces 0, 1, 2"),
    "words": (lambda f: (f / "vocab.json").write_text('{"a": "0"}'), "must number its pieces 0, 1, 2"),
    "merge": (lambda f: (f / "merges.txt").write_text("#version: 0.2\na b c\n"), "must hold two pieces a line"),
    "foreign merge": (lambda f: (f / "merges.txt").write_text("q§ x\n"), "a tokenizer must be readable"),
    "one file": (lambda f: (f / "merges.txt").unlink(), "Qwen2's vocab.json and merges.txt: .* has neither"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_named(folder: Path, name: str) -> None:
    damage, complaint = DAMAGED[name]
    damage(folder)
    with pytest.raises(InputError, match=complaint):
        load_tokenizer(str(folder))
