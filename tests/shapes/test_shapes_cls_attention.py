"""Stage 4 of the recipe: [CLS] learns to read the picture, in one layer, and the patches stay as they are."""

from pathlib import Path

import pytest
import torch

from llava.model import LlavaLlamaForCausalLM
from llava.model.tokenizer import LlamaTokenizer
from playground.shapes.check import gathered_accuracy
from playground.shapes.cls_attention import Gathering, summary_loss
from playground.shapes.data import Samples, collate, matched, patch_targets
from playground.shapes.scene import COLORS, SHAPES, make_scene
from playground.shapes.stages import Stage, run_stage


def batch_of(tokenizer: LlamaTokenizer, count: int = 16) -> dict[str, torch.Tensor]:
    samples = Samples(matched, tokenizer, length=count, split="validation")
    return collate([samples[number] for number in range(count)])


def test_cls_is_asked_for_everything_at_its_place() -> None:
    scene = make_scene(5, "train", 2)
    right = torch.full((1, 9, 14), -50.0)
    right[..., 0] = right[..., 9] = 50
    for thing in scene.things:
        right[0, thing.place, [0, 9]] = -50
        right[0, thing.place, [1 + COLORS.index(thing.color), 10 + SHAPES.index(thing.shape)]] = 50
    patches = patch_targets(scene)[None]

    assert summary_loss(right.flatten(1), patches) < 1e-6
    for place in range(9):
        wrong = right.clone()
        wrong[0, place] = wrong[0, place].roll(1)
        assert summary_loss(wrong.flatten(1), patches) > 1


def test_it_begins_with_the_patches_as_they_are_in_the_checkpoint(
    tokenizer: LlamaTokenizer, llava: LlavaLlamaForCausalLM
) -> None:
    model, batch = llava, batch_of(tokenizer, 2)
    as_written = {name: weight.half().float() for name, weight in model.state_dict().items()}
    gathering = Gathering(model)

    assert all(torch.equal(weight, as_written[name]) for name, weight in model.state_dict().items())
    assert gathering(**batch)["changed"] == 0
    features = model.get_vision_tower().encode(batch["images"]).features
    assert torch.equal(gathering.layer(gathering.entering(batch["images"]), attention_mask=None)[:, 1:], features)


def test_one_layer_learns_and_cls_reads_more(
    tokenizer: LlamaTokenizer, llava: LlavaLlamaForCausalLM, tmp_path: Path
) -> None:
    gathering, batch = Gathering(llava), batch_of(tokenizer)
    weights = {name: weight.clone() for name, weight in gathering.state_dict().items()}
    before = gathered_accuracy(gathering, batch)
    samples = Samples(matched, tokenizer, length=16 * 15)

    run_stage(Stage("mini", steps=15, batch=16, rate=3e-3, warmup=2), gathering, samples, tmp_path / "gather", [])

    after = gathered_accuracy(gathering, batch)
    assert after["gathered"] < 0.9 * before["gathered"]
    assert 0 < after["changed"] < 0.05
    learned = {
        name.rpartition(".")[0] for name, weight in gathering.state_dict().items() if (weight != weights[name]).any()
    }
    layer = "llava.model.vision_tower.vision_tower.encoder.layers.1."
    assert learned and all(name == "summary" or name.startswith(layer) for name in learned)


def test_attended_is_the_share_of_cls_attention_that_falls_on_things(
    tokenizer: LlamaTokenizer, llava: LlavaLlamaForCausalLM
) -> None:
    gathering, batch = Gathering(llava), batch_of(tokenizer, 4)
    with torch.no_grad():
        gathering.layer.self_attn.q_proj.weight.zero_()
        gathering.layer.self_attn.q_proj.bias.zero_()

    # Without queries every patch gets the same.
    share = 100 * float((batch["patches"][..., 0] > 0).float().mean())
    assert gathered_accuracy(gathering, batch)["attended"] == pytest.approx(share, abs=1e-3)
