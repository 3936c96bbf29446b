"""Checkpoints in the layouts that were published, made of the tiny ones."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from conftest import PARITY, Loaded, sample
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from shallow import shallow
from transformers import LlamaForCausalLM

from llava.model.builder import load_pretrained_model

TINY = shallow("llava-tiny-12l")
# Wide enough for bitsandbytes: its 4-bit matrices on a CPU have a multiple of 32 rows and of 64 columns.
SHAPES = PARITY.parents[1] / "playground/shapes/llava-shapes"
NESTED = "model.vision_tower.vision_tower.vision_model."


def load(path: Path, base: Path | None = None, name: str = "llava-tiny", **arguments: Any) -> Loaded:
    """`load_pretrained_model` on the CPU in float32."""
    settings = {"device": "cpu", "torch_dtype": torch.float32} | arguments
    return Loaded(*load_pretrained_model(str(path), str(base) if base else None, name, **settings))


def copied(folder: Path, source: Path = TINY, **changes: Any) -> Path:
    """A checkpoint in a new folder, its config.json changed; None takes a key out."""
    shutil.copytree(source, folder)
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


def plain_base(folder: Path, source: Path = TINY) -> Path:
    """A plain language model, as Vicuna is: no projector, no vision tower."""
    folder.mkdir()
    for name in ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json"):
        shutil.copy(source / name, folder)
    config = json.loads((source / "config.json").read_text())
    plain = {key: value for key, value in config.items() if not key.startswith("mm_")}
    (folder / "config.json").write_text(
        json.dumps(plain | {"model_type": "llama", "architectures": ["LlamaForCausal"]})
    )
    store(folder, {name: tensor for name, tensor in tensors(source).items() if "mm_projector" not in name})
    return folder


def trained_folder(folder: Path, source: Path = TINY) -> Path:
    """The folder training writes: LLaVA's config, the tower beside it (the published one is on the hub)."""
    folder.mkdir()
    shutil.copy(source / "config.json", folder)
    shutil.copytree(source / "vision_tower", folder / "vision_tower")
    return folder


def projector(source: Path = TINY) -> dict[str, torch.Tensor]:
    """Another projector than the full checkpoint's."""
    generator = torch.Generator().manual_seed(5)
    own = {name: tensor for name, tensor in tensors(source).items() if "mm_projector" in name}
    return {name: torch.randn(tensor.shape, generator=generator).half() * 0.3 for name, tensor in own.items()}


def projector_on_base(root: Path, source: Path = TINY) -> tuple[Path, Path]:
    """A base, and a folder with another projector for it."""
    base, trained = plain_base(root / "vicuna", source), trained_folder(root / "llava-out", source)
    torch.save(projector(source), trained / "mm_projector.bin")
    return base, trained


def lora_on_base(root: Path, source: Path = TINY) -> tuple[Path, Path]:
    """A base, and a folder with a LoRA adapter of random weights for it and another projector."""
    base, trained = plain_base(root / "vicuna", source), trained_folder(root / "llava-my-task", source)
    torch.save(projector(source), trained / "non_lora_trainables.bin")
    model = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    tuned = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"]))
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "lora_" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    tuned.save_pretrained(trained)
    return base, trained
