"""Whole runs against LLaVA's own training function: order of samples, losses, rates, groups and weights."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from training_runs import TRAINING, flags, recorded_flags

from llava.errors import InputError
from llava.train.flags import parse
from llava.train.llava_trainer import LLaVATrainer
from llava.train.sampler import LengthGroupedSampler
from llava.train.train import finish, make_trainer

CASES = {case["name"]: case for case in json.loads((TRAINING / "train_cases.json").read_text())}
GROUPS = {name: case for name, case in json.loads((TRAINING / "optimizer_groups.json").read_text()).items()}
# Other recordings are tried with TRAINING_RECORDINGS=FOLDER, as in test_recorded_batches.
FOLDER = Path(os.environ.get("TRAINING_RECORDINGS", TRAINING))
RUNS = {case["name"]: case for case in json.loads((FOLDER / "train_cases.json").read_text())}
WHOLE = [name for name in RUNS if (FOLDER / f"{name}.safetensors").exists()]
SAMPLES = CASES["train_finetune"]["samples"]


def seen(trainer: LLaVATrainer) -> list[int]:
    """The samples of every epoch, in the order in which the collator got them."""
    order: list[int] = []
    dataset, collate = trainer.train_dataset, trainer.data_collator

    class Noted(torch.utils.data.Dataset):
        modality_lengths = dataset.modality_lengths

        def __len__(self) -> int:
            return len(dataset)

        def __getitem__(self, number: int) -> Any:
            order.append(number)
            return dataset[number]

    trainer.train_dataset, trainer.data_collator = Noted(), collate
    return order


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.long
def test_a_run_ends_with_the_weights_of_llava(name: str, tmp_path: Path) -> None:
    case, wanted = RUNS[name], load_file(FOLDER / f"{name}.safetensors")
    trainer = make_trainer(parse(recorded_flags(case["argv"], tmp_path, case["samples"])))
    parameters = dict(trainer.model.named_parameters())
    with torch.no_grad():
        for key in (key for key in wanted if key.startswith("before.")):
            parameters[key.removeprefix("before.")].copy_(wanted[key])
    order = seen(trainer)
    trainer.train()
    assert order == case["order"]
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses == pytest.approx([entry["loss"] for entry in case["log"] if "loss" in entry], abs=6e-5)
    after = [key for key in wanted if key.startswith("after.")]
    assert after
    for key in after:
        own = parameters[key.removeprefix("after.")].detach()
        torch.testing.assert_close(own, wanted[key], atol=1e-5, rtol=0)
    finish(trainer)
    written = {path.name for path in (tmp_path / "out").iterdir()}
    # Special tokens are written into tokenizer_config.json today.
    assert set(case["files"]) - {"special_tokens_map.json"} <= written


# What LLaVA does without a word and is refused or mended here.
MENDED = ("tune_and_freeze_projector", "lora_of_checkpoint_with_unfreeze_mm_vision_tower")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in GROUPS if name not in MENDED])
def test_groups_of_parameters(name: str, tmp_path: Path) -> None:
    case = GROUPS[name]
    text = [sample for sample in SAMPLES if "image" not in sample]
    samples = SAMPLES if "--vision_tower" in case["argv"] else text
    if "plain" in case["argv"]:
        samples = CASES["train_pretrain"]["samples"]
    trainer = make_trainer(parse(recorded_flags(case["argv"], tmp_path, samples)))
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    made = trainer.create_optimizer().param_groups
    assert [[names[id(p)] for p in group["params"]] for group in made] == [group["names"] for group in case["groups"]]
    kept = ("weight_decay", "lr")
    assert [[group[key] for key in kept] for group in made] == [
        [group[key] for key in kept] for group in case["groups"]
    ]


TOWERS = json.loads((TRAINING / "optimizer_groups_vision_tower.json").read_text())
TOWER_FLAGS = {
    "next_unfrozen_vit_lr": ("--unfreeze_mm_vision_tower", "True", "--mm_vision_tower_lr", "2e-6"),
    "next_unfrozen_no_vit_lr": ("--unfreeze_mm_vision_tower", "True"),
    "next_frozen": (),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TOWERS)
def test_groups_of_parameters_with_a_tower(name: str, tmp_path: Path) -> None:
    """PyramidDrop's LLaVA-NeXT training: a tower of its own rate, and its projector's groups whenever it is trained."""
    more = ("--learning_rate", "2e-5", "--weight_decay", "0.1", "--image_aspect_ratio", "anyres")
    merge = ("--mm_patch_merge_type", "spatial_unpad")
    model = TRAINING.parent / "llava-tiny-next"
    trainer = make_trainer(parse(flags(tmp_path, *more, *merge, *TOWER_FLAGS[name], model=model)))
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    made = trainer.create_optimizer().param_groups
    own = [[recorded_name(names[id(p)]) for p in group["params"]] for group in made]
    assert [sorted(group) for group in own] == [sorted(group["names"]) for group in TOWERS[name]]
    assert [(group["weight_decay"], group["lr"]) for group in made] == [
        (group["weight_decay"], group["lr"]) for group in TOWERS[name]
    ]


def recorded_name(name: str) -> str:
    """CLIP's modules are one level deeper on transformers 4."""
    return name.replace("vision_tower.vision_tower.", "vision_tower.vision_tower.vision_model.")


def test_nothing_to_train_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing would be trained"):
        parse(recorded_flags(GROUPS["tune_and_freeze_projector"]["argv"], tmp_path, SAMPLES))


@pytest.mark.parametrize("case", json.loads((TRAINING / "sampler.json").read_text()), ids=lambda case: case["name"])
def test_the_order_of_two_epochs(case: dict[str, Any]) -> None:
    torch.manual_seed(case["seed"])
    sampler = LengthGroupedSampler(
        case["batch_size"], case["world_size_times_accumulation"], case["lengths"], group_by_modality=True
    )
    assert list(sampler) == case["first_epoch"]
    assert torch.rand(1).item() == case["next_random_number"]
    assert list(sampler) == case["second_epoch"]
    assert len(sampler) == len(case["lengths"])


def test_a_batch_without_targets_counts_as_zero_and_moves_nothing(tmp_path: Path) -> None:
    """A mean over nothing is no number, which LLaVA's log hides."""
    trainer = make_trainer(parse(recorded_flags(CASES["train_finetune"]["argv"], tmp_path, SAMPLES)))
    seen = ["image" in sample for sample in SAMPLES]
    picture, text = [seen.index(True)], [seen.index(False)]
    model = trainer.model.train()

    def loss_of(numbers: list[int], longest: int = 2048, masked: bool = False) -> torch.Tensor:
        model.config.tokenizer_model_max_length = longest
        batch = trainer.data_collator([trainer.train_dataset[number] for number in numbers])
        if masked:
            batch["labels"].fill_(-100)
        return trainer.compute_loss(model, batch)

    for silent, case in enumerate(((picture + text, 2048, True), (picture, 580)), 1):
        model.zero_grad()
        loss = loss_of(*case)
        loss.backward()
        assert loss.item() == 0 and trainer.silent_batches == silent
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        assert len(gradients) > 200 and all(torch.count_nonzero(gradient) == 0 for gradient in gradients)
    # The cut takes the answer of a picture, behind 576 tokens, and none of the text in the same batch.
    with torch.no_grad():
        torch.testing.assert_close(loss_of(picture + text, 580), loss_of(text), atol=1e-6, rtol=0)
    assert trainer.silent_batches == 2
