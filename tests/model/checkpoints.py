"""Checkpoints in the layouts that were published, made of the tiny ones."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from conftest import PARITY, Loaded, sample
from safetensors.torch import load_file, save_file

from llava.model.builder import load_pretrained_model

TINY = PARITY / "llava-tiny-12l"
NESTED = "model.vision_tower.vision_tower.vision_model."


def load(path: Path, base: Path | None = None, name: str = "llava-tiny", **arguments: Any) -> Loaded:
    """`load_pretrained_model` on the CPU in float32."""
    settings = {"device": "cpu", "torch_dtype": torch.float32} | arguments
    return Loaded(*load_pretrained_model(str(path), str(base) if base else None, name, **settings))


def copied(folder: Path, **changes: Any) -> Path:
    """The tiny checkpoint in a new folder, its config.json changed; None takes a key out."""
    shutil.copytree(TINY, folder)
    reconfigure(folder, **changes)
    return folder


def reconfigure(folder: Path, **changes: Any) -> None:
    """Change keys of config.json."""
    config = json.loads((folder / "config.json").read_text()) | changes
    config = {key: value for key, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """What `model.safetensors` holds."""
    return load_file(folder / "model.safetensors")


def store(folder: Path, weights: dict[str, torch.Tensor], kind: str = "safetensors", shards: int = 1) -> None:
    """Write weights as `model.safetensors` or `pytorch_model.bin`, in one file or in shards with an index."""
    for old in [*folder.glob("model*.safetensors*"), *folder.glob("pytorch_model*")]:
        old.unlink()
    stem, end = ("model", ".safetensors") if kind == "safetensors" else ("pytorch_model", ".bin")
    names, index = sorted(weights), {}
    for shard in range(shards):
        file = f"{stem}{end}" if shards == 1 else f"{stem}-{shard + 1:05d}-of-{shards:05d}{end}"
        part = {name: weights[name] for name in names[shard::shards]}
        index.update(dict.fromkeys(part, file))
        if kind == "safetensors":
            save_file(part, folder / file, metadata={"format": "pt"})
        else:
            torch.save(part, folder / file)
    if shards > 1:
        content = {"metadata": {"total_size": 0}, "weight_map": index}
        (folder / f"{stem}{end}.index.json").write_text(json.dumps(content))


def with_tower(folder: Path) -> dict[str, torch.Tensor]:
    """The checkpoint's tensors and its tower's, nested as LLaVA-1.6 has them."""
    tower = load_file(folder / "vision_tower/model.safetensors")
    prefix = NESTED if not next(iter(tower)).startswith("vision_model.") else NESTED.removesuffix("vision_model.")
    return tensors(folder) | {prefix + name: tensor for name, tensor in tower.items()}


def answer(loaded: Loaded) -> torch.Tensor:
    """Logits of one question about a picture: equal if everything was loaded."""
    asked = sample(loaded, "What color is the circle?", "0.png")
    with torch.no_grad():
        return loaded.model(asked.input_ids, images=asked.images).logits[:, -1]
