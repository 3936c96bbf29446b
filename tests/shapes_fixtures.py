"""What tests of the recipe share: its vocabulary, and a LLaVA of its kind that is small enough to train here."""

import shutil
from pathlib import Path

import pytest
import torch

from llava.eval.runs.loading import TRAINED
from llava.model import LlavaLlamaForCausalLM
from llava.model.tokenizer import LlamaTokenizer
from playground.shapes.models import build_llava
from playground.shapes.text import read_tokenizer
from playground.shapes.tower import TowerWithTeacher


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipe's own vocabulary: the shipped one, which is what the recipe makes (and a test)."""
    folder = tmp_path_factory.mktemp("vocabulary")
    shutil.copy(Path(__file__).parents[1] / TRAINED / "tokenizer.model", folder)
    return folder


@pytest.fixture
def tokenizer(vocabulary: Path) -> LlamaTokenizer:
    return read_tokenizer(vocabulary)


@pytest.fixture
def llava() -> LlavaLlamaForCausalLM:
    """Random, always with the same weights."""
    torch.manual_seed(0)
    return build_llava(TowerWithTeacher(width=64, layers=3).clip.config.vision_config, width=32, layers=2)
