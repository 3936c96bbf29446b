"""What a run began with: one that goes on from a checkpoint must go on so, or settings would be lost without a word."""

import dataclasses
import json
import os
import zipfile
from pathlib import Path
from typing import Any

from llava.errors import InputError, shown
from llava.files.reading import parse_json, read_json_object
from llava.files.writing import write_text

FILE = "began_with.json"
# Paths may be written in another way, or lie elsewhere, when a run goes on.
PATHS = ("model_name_or_path", "vision_tower", "pretrain_mm_mlp_adapter")
DATA = ("image_aspect_ratio", "image_grid_pinpoints", "official_masking")
# What a checkpoint decides, and not the flags of the run that goes on; and what has no checkpoint in common.
TRAINING = (
    *("learning_rate", "mm_projector_lr", "mm_vision_tower_lr", "weight_decay", "adam_beta1", "adam_beta2"),
    *("adam_epsilon", "optim", "optim_args", "seed", "model_max_length", "group_by_modality_length"),
    *("lora_enable", "lora_r", "lora_alpha", "lora_dropout", "lora_bias", "lora_qv_proj_only", "bits", "quant_type"),
    *("double_quant", "freeze_mm_mlp_adapter", "unfreeze_mm_vision_tower"),
)
STATES = ("optimizer.pt", "scheduler.pt")


def settings_of(given: Any, samples: int) -> dict[str, Any]:
    """Flags that must stay as they are, as JSON's values.

    Args:
        given: `llava.train.flags.Arguments`.
        samples: how many the data has.
    """
    held = {field.name: getattr(given.model, field.name) for field in dataclasses.fields(given.model)}
    held |= {name: os.path.basename(os.path.normpath(str(held[name]))) for name in PATHS}
    held |= {name: getattr(given.data, name) for name in DATA}
    held |= {name: getattr(given.training, name) for name in TRAINING}
    chosen = given.method
    held["method"] = f"{chosen.name} {chosen.method or chosen.preset or chosen.retain} {chosen.shared or ''}".strip()
    held["data_path"] = f"{samples} samples"
    value: dict[str, Any] = parse_json(json.dumps(held, default=str), "settings", "memory")
    return value


def remember(given: Any, samples: int) -> None:
    """Write down what a run begins with, into its folder."""
    if given.training.process_index == 0:
        path = os.path.join(given.training.output_dir, FILE)
        write_text(path, json.dumps(settings_of(given, samples), indent=1) + "\n")


def check_goes_on(checkpoint: str, given: Any, samples: int) -> None:
    """Refuse to go on with other settings than a run began with, or from a checkpoint that has lost a part.

    Raises:
        InputError: naming the flag, or the file.
    """
    path = Path(checkpoint).parent / FILE
    if path.is_file():
        began, now = read_json_object(path, "what a run began with"), settings_of(given, samples)
        for name in (name for name in now if name in began and began[name] != now[name]):
            raise InputError(
                f"a run goes on as it began: --{name} was {shown(began[name])} and is {shown(now[name])} in "
                f"{shown(str(path.parent), 300)}; say what it was, or name another --output_dir"
            )
    if given.training.deepspeed or given.training.fsdp:
        return  # their parts have other names
    states = [os.path.join(checkpoint, name) for name in STATES]
    states += [str(file) for file in Path(checkpoint).glob("rng_state*.pth")] or [f"{checkpoint}/rng_state.pth"]
    for state in states:
        if not os.path.isfile(state) or not zipfile.is_zipfile(state):  # torch writes zip files, their table last
            raise InputError(
                f"a checkpoint must be whole to go on from it: {shown(state, 300)} is "
                f"{'cut short' if os.path.isfile(state) else 'not there'}; remove that checkpoint to go on from the "
                f"one before, or name another --output_dir"
            )
