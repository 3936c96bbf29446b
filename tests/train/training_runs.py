"""Whole runs of training on the tiny checkpoint, as command lines."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from conftest import PARITY
from safetensors.torch import load_file, save_file

TINY = PARITY / "llava-tiny"
TRAINING = PARITY / "training"
# What a language model without eyes does not have in its config.json.
EYES = ("use_mm_proj", "tune_mm_mlp_adapter", "freeze_mm_mlp_adapter", "image_aspect_ratio", "unfreeze_mm_vision_tower")
TALKS = [
    {
        "id": "a",
        "image": "0.png",
        "conversations": [
            {"from": "human", "value": "<image>\nWhat color is the circle?"},
            {"from": "gpt", "value": "The circle is red."},
        ],
    },
    {
        "id": "t",
        "conversations": [
            {"from": "human", "value": "What is two plus two?"},
            {"from": "gpt", "value": "Four."},
        ],
    },
    {
        "id": "b",
        "image": "1.png",
        "conversations": [
            {"from": "human", "value": "Which shape is left of the square?\n<image>"},
            {"from": "gpt", "value": "A blue triangle."},
            {"from": "human", "value": "How many are there?"},
            {"from": "gpt", "value": "Two."},
        ],
    },
    {
        "id": "c",
        "image": "3.png",
        "conversations": [
            {"from": "human", "value": "<image>\nIs there a cat?"},
            {"from": "gpt", "value": "No"},
        ],
    },
]


def write_data(folder: Path, samples: Any = None) -> str:
    """A file of samples; `TALKS` where none are given."""
    path = folder / "data.json"
    path.write_text(json.dumps(TALKS if samples is None else samples))
    return str(path)


def flags(folder: Path, *more: str, data: str | None = None, model: str | Path = TINY) -> list[str]:
    """A short run on the CPU with LLaVA's settings; later flags take the place of earlier ones."""
    return [
        *("--model_name_or_path", str(model), "--vision_tower", str(TINY / "vision_tower"), "--version", "v1"),
        *("--data_path", data or write_data(folder), "--image_folder", str(PARITY / "images")),
        *("--image_aspect_ratio", "pad", "--mm_vision_select_layer", "-2", "--mm_projector_type", "mlp2x_gelu"),
        *("--mm_use_im_patch_token", "False", "--per_device_train_batch_size", "2", "--num_train_epochs", "1"),
        *("--learning_rate", "1e-3", "--lr_scheduler_type", "cosine", "--warmup_ratio", "0.03", "--use_cpu", "True"),
        *("--save_strategy", "no", "--model_max_length", "2048", "--logging_steps", "1", "--disable_tqdm", "True"),
        *("--output_dir", str(folder / "out"), *more),
    ]


def recorded_flags(argv: list[str], folder: Path, samples: Any) -> list[str]:
    """The command line of a recorded run, on the files that are here."""
    made = list(argv)

    def put(flag: str, value: str | Path) -> None:
        made[made.index(flag) + 1] = str(value)

    named = made[made.index("--model_name_or_path") + 1]
    put("--model_name_or_path", TINY if named == "llava-tiny" else blind_base(folder))
    if "--vision_tower" in made:
        put("--vision_tower", TINY / "vision_tower")
        made += ["--image_folder", str(PARITY / "images")]
    if "--pretrain_mm_mlp_adapter" in made:
        put("--pretrain_mm_mlp_adapter", projector_file(folder))
    made += ["--output_dir", str(folder / "out"), "--data_path", write_data(folder, samples), "--use_cpu", "True"]
    return [*made, "--official_masking", "True", "--logging_steps", "1", "--disable_tqdm", "True"]


def projector_file(folder: Path) -> Path:
    """The tiny checkpoint's projector as pre-training leaves it."""
    path = folder / "mm_projector.bin"
    weights = load_file(TINY / "model.safetensors")
    torch.save({name: tensor for name, tensor in weights.items() if "mm_projector" in name}, path)
    return path


def blind_base(folder: Path) -> Path:
    """The language model of the tiny checkpoint by itself."""
    base = folder / "vicuna-tiny"
    base.mkdir(exist_ok=True)
    weights = load_file(TINY / "model.safetensors")
    text = {name: tensor for name, tensor in weights.items() if "mm_projector" not in name}
    save_file(text, base / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((TINY / "config.json").read_text())
    config = {name: value for name, value in config.items() if not name.startswith("mm_") and name not in EYES}
    config |= {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    (base / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json"):
        shutil.copy(TINY / name, base)
    return base


def without_pad(base: Path) -> Path:
    """The same checkpoint with a tokenizer that has no pad token; it is changed where it lies."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        held = json.loads((base / name).read_text())
        (base / name).write_text(json.dumps({key: value for key, value in held.items() if key != "pad_token"}))
    return base
