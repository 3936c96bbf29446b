"""Folders of checkpoints in transformers' layout that several tests load; to be imported as fixtures."""

from pathlib import Path

import pytest
import tiny_checkpoints
from conftest import PARITY
from tiny_checkpoints import qwen

from llava.conversation import get_conv_template
from llava.hf.export import export
from llava.model.builder import load_pretrained_model


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One view of CLIP on LLaMA, tiles of CLIP on Mistral, tiles of SigLIP on Qwen2, in transformers' layout."""
    made = {}
    checkpoints = {"llava-tiny": "vicuna_v1", "families/mistral-next": "mistral_instruct"}
    for name, mode in {**checkpoints, "families/ov-qwen": "qwen_1_5"}.items():
        tokenizer, model, _, _ = load_pretrained_model(str(PARITY / name), None, "llava", device="cpu", dtype="auto")
        made[name] = tmp_path_factory.mktemp("hf")
        export(model, tokenizer, get_conv_template(mode), str(made[name]))
    return made


@pytest.fixture(scope="module")
def qwens(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A Qwen-VL of each kind."""
    return {name: qwen(tmp_path_factory.mktemp(name), name) for name in tiny_checkpoints.KINDS}


@pytest.fixture(scope="module")
def hosts(qwens: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of every family whose class is transformers' own."""
    return {**qwens, "internvl": tiny_checkpoints.internvl(tmp_path_factory.mktemp("internvl"))}
