"""What a run computes in and trains, where LLaVA does something else without a word."""

import json
from pathlib import Path

import pytest
import torch
from conftest import PARITY
from shallow import shallow
from training_runs import TINY, flags

from llava.model.builder import load_pretrained_model
from llava.train.flags import parse
from llava.train.saving import load_weights
from llava.train.train import finish, make_trainer

QWEN = PARITY / "families/next-qwen-clip"
LORA = ("--lora_enable", "True", "--lora_r", "2")


@pytest.mark.parametrize(("flag", "dtype"), [("False", torch.float32), ("True", torch.bfloat16)])
def test_the_tower_computes_in_the_dtype_of_the_run(flag: str, dtype: torch.dtype, tmp_path: Path) -> None:
    """LLaVA's computes in float16 where the run does not say bf16."""
    llava = make_trainer(parse(flags(tmp_path, "--bf16", flag))).llava
    tower = llava.get_vision_tower()
    assert {p.dtype for p in tower.parameters()} == {p.dtype for p in llava.parameters()} == {dtype}


def test_no_adapter_goes_on_a_tower(tmp_path: Path) -> None:
    """This checkpoint says unfreeze_mm_vision_tower, so its tower is there when LLaVA's adapters look for names."""
    trainer = make_trainer(parse(flags(tmp_path, *LORA, model=TINY.parent / "llava-tiny-next")))
    adapted = [name for name, _ in trainer.model.named_parameters() if "lora_" in name]
    assert len(adapted) == 448 and not any("vision_tower" in name for name in adapted)


def test_an_adapter_is_as_the_flags_say(tmp_path: Path) -> None:
    """Its layers are named by the last parts of their names, as LLaVA's loader knows them; a frozen projector is not
    beside an adapter whose base has it."""
    model = shallow("llava-tiny-12l")
    more = ("--vision_tower", str(model / "vision_tower"), "--lora_qv_proj_only", "True", "--lora_r", "3")
    more += ("--lora_alpha", "7", "--lora_dropout", "0.25", "--freeze_mm_mlp_adapter", "True")
    trainer = make_trainer(parse(flags(tmp_path, *LORA, *more, model=model)))
    trained = [name for name, p in trainer.model.named_parameters() if p.requires_grad]
    assert len(trained) == 12 * 2 * 2 and all("lora_" in name for name in trained)
    finish(trainer)
    held = json.loads((tmp_path / "out/adapter_config.json").read_text())
    wanted = {"r": 3, "lora_alpha": 7, "lora_dropout": 0.25, "bias": "none", "task_type": "CAUSAL_LM"}
    assert {name: held[name] for name in wanted} == wanted
    assert sorted(held["target_modules"]) == ["q_proj", "v_proj"]
    assert torch.load(tmp_path / "out/non_lora_trainables.bin") == {}


@pytest.mark.parametrize("which", ["all", "lora_only"])
def test_biases_that_are_trained_with_an_adapter_load(which: str, tmp_path: Path) -> None:
    """Qwen2 has biases where adapters go. LLaVA's `all` has the tower's too, and its `lora_only` cannot be saved."""
    tower = ("--vision_tower", str(QWEN / json.loads((QWEN / "config.json").read_text())["mm_vision_tower"]))
    anyres = ("--version", "qwen_1_5", "--image_aspect_ratio", "anyres", "--mm_patch_merge_type", "spatial_unpad")
    trainer = make_trainer(parse(flags(tmp_path, *LORA, *tower, *anyres, "--lora_bias", which, model=QWEN)))
    trained = {name: p for name, p in trainer.model.named_parameters() if p.requires_grad}
    biases = {name: p for name, p in trained.items() if name.endswith(".base_layer.bias")}
    assert len(biases) == 3 * trainer.llava.config.num_hidden_layers and not any("vision_tower" in n for n in trained)
    with torch.no_grad():
        for number, parameter in enumerate(trained.values()):
            parameter.fill_(0.01 * (number % 7 + 1))  # as if it had learnt something
    finish(trainer)
    wanted = {name: p.detach().clone() for name, p in trained.items()}
    with torch.no_grad():
        for parameter in trained.values():
            parameter.zero_()
    load_weights(trainer.model, trainer.llava, "lora", str(tmp_path / "out"))  # as a run that goes on does
    assert all(torch.equal(p, wanted[name]) for name, p in trained.items())
    arguments = {"device": "cpu", "torch_dtype": torch.float32}
    _, model, _, _ = load_pretrained_model(str(tmp_path / "out"), str(QWEN), "llava-lora", **arguments)
    own, merged = model.state_dict(), trainer.model.merge_and_unload().state_dict()
    bare = {name.removeprefix("base_model.model.").replace(".base_layer", ""): p for name, p in wanted.items()}
    assert all(torch.equal(own[name], p) for name, p in bare.items() if ".lora_" not in name)
    for name in ("model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.down_proj.weight"):
        torch.testing.assert_close(own[name], merged[name], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("ratio", "learns"), [("0.03", False), ("0", True)])
def test_a_run_that_can_learn_nothing_says_so(
    ratio: str, learns: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Few samples in one step of the published size: a warm-up begins with a rate of 0."""
    model = shallow("llava-tiny-12l")
    more = ("--per_device_train_batch_size", "8", "--warmup_ratio", ratio, "--tune_mm_mlp_adapter", "True")
    own = ("--vision_tower", str(model / "vision_tower"))
    trainer = make_trainer(parse(flags(tmp_path, *more, *own, model=model)))
    weight = trainer.llava.get_model().mm_projector[0].weight
    before = weight.detach().clone()
    trainer.train()
    assert torch.equal(weight, before) is not learns
    assert any("nothing is learned" in record.message for record in caplog.records) is not learns
