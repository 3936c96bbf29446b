"""Tokens that a run adds: what is saved beside a base is completed by it, as a user loads it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import PARITY
from shallow import shallow
from training_runs import blind_base, flags, without_pad

from llava.constants import IMAGE_TOKEN_INDEX
from llava.model.builder import load_pretrained_model
from llava.train.flags import parse
from llava.train.llava_trainer import LLaVATrainer
from llava.train.model import training_tokenizer
from llava.train.train import finish, make_trainer

QWEN = PARITY / "families/next-qwen-clip"  # with more rows than its tokenizer has tokens
LORA = ("--lora_enable", "True", "--lora_r", "2")
PATCH, START_END = ("--mm_use_im_patch_token", "True"), ("--mm_use_im_start_end", "True")
ANYRES = ("--version", "qwen_1_5", "--image_aspect_ratio", "anyres", "--mm_patch_merge_type", "spatial_unpad")
# Base, flags, and how many tokens are added.
RUNS = {
    "adapter": ("blind", (*LORA, *PATCH, *START_END, "--version", "v0", "--freeze_mm_mlp_adapter", "True"), 4),
    "projector": ("blind", ("--tune_mm_mlp_adapter", "True", *PATCH, "--version", "v0"), 2),
    "padded": ("qwen", (*LORA, *START_END, *ANYRES), 2),
    "full": ("tiny", (*PATCH, *START_END), 3),
}


def begun(name: str, folder: Path) -> tuple[LLaVATrainer, Path]:
    """A run before its first step, and its base."""
    kind, more, _ = RUNS[name]
    base = without_pad(blind_base(folder)) if kind == "blind" else QWEN if kind == "qwen" else shallow("llava-tiny-12l")
    tower = base / json.loads((QWEN / "config.json").read_text())["mm_vision_tower"] if kind == "qwen" else None
    tower = shallow("llava-tiny-next") / "vision_tower" if kind == "blind" else tower
    own = ("--vision_tower", str(tower or base / "vision_tower"))
    return make_trainer(parse(flags(folder, *own, *more, model=base))), base


def loaded(trainer: LLaVATrainer, base: Path, folder: Path) -> tuple[Any, Any]:
    """Tokenizer and model of what the run wrote."""
    where = (None, "llava") if trainer.mode == "full" else (str(base), "llava-lora")
    tokenizer, model, _, _ = load_pretrained_model(str(folder), *where, device="cpu", torch_dtype=torch.float32)
    return tokenizer, model


def asked(model: Any, tokenizer: Any, marked: bool) -> torch.Tensor:
    """Logits for a picture of zeros and a word, without those of tokens that the base does not have."""
    image = [tokenizer.convert_tokens_to_ids(token) for token in ("<im_start>", "<im_end>")] if marked else []
    ids = torch.tensor([[5, *image[:1], IMAGE_TOKEN_INDEX, *image[1:], 7]])
    with torch.inference_mode():
        pixels = torch.zeros(1, 3, *(2 * [model.get_vision_tower().image_size]))
        return model(input_ids=ids, images=pixels, image_sizes=[(336, 336)]).logits[..., :640]


@pytest.mark.parametrize("name", RUNS)
def test_a_model_with_tokens_of_its_run_loads(name: str, tmp_path: Path) -> None:
    """LLaVA writes a vocabulary that its base does not have, so that what it saved cannot be loaded."""
    trainer, base = begun(name, tmp_path)
    llava, tokens = trainer.llava, trainer.processing_class
    table, added = llava.get_input_embeddings().weight, RUNS[name][2]
    torch.testing.assert_close(table[-added:], table[:-added].mean(dim=0).expand(added, -1), atol=1e-6, rtol=0)
    with torch.no_grad():
        for key, parameter in trainer.model.named_parameters():
            if "lora_B" in key:  # which begins with zeros
                parameter.fill_(0.01)
    finish(trainer)
    tokenizer, model = loaded(trainer, base, tmp_path / "out")
    marked = llava.config.mm_use_im_start_end
    wanted = asked(llava.eval(), tokens, marked)
    torch.testing.assert_close(asked(model, tokenizer, marked), wanted, atol=2e-5, rtol=0)
    assert set(tokens.get_vocab()) - set(tokenizer.get_vocab()) <= {"[PAD]"}  # which stands in no text
    assert len(model.get_input_embeddings().weight) == len(tokenizer)


def test_the_pad_token_of_a_run(tmp_path: Path) -> None:
    """`v0` adds one where there is none; else it is the token for what is unknown."""
    base = without_pad(blind_base(tmp_path))
    pads = {}
    for version in ("v0", "v0.5", "v1"):
        given = parse(flags(tmp_path, "--version", version, model=base))
        pads[version] = training_tokenizer(given.model, given.training)
    assert {version: made.pad_token for version, made in pads.items()} == {
        "v0": "[PAD]",
        "v0.5": "<unk>",
        "v1": "<unk>",
    }
    assert pads["v0"].pad_token_id == 700 and len(pads["v1"]) == 700
    assert {made.padding_side for made in pads.values()} == {"right"}
    given = parse(flags(tmp_path, "--version", "v0", model=PARITY / "llava-tiny"))
    assert training_tokenizer(given.model, given.training).pad_token == "<unk>"
