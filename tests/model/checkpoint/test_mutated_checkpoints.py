"""Damaged JSON in every place of a checkpoint: it loads, or it is refused in one line. Nothing else."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import TINY, store, tensors, with_tower
from conftest import PARITY

from llava.errors import InputError
from llava.model import builder

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 3, 7, 2**31, 2**63, 10**30, -(10**30), 0.5, -0.5, 1e300, 1e-300),
    *("", "x", "0", "1e999", "float32", "someone/kernel", "../../etc/passwd", "/etc/passwd", "\0", "é" * 5000),
    *([], [1], [[1]], ["x"], [None], {}, {"x": 1}, {"": {}}, [[[[]]]], {"type": "yarn", "factor": "x"}),
)


# What stands for brackets in one another: more than a file has, and more than Python can copy.
DEEP = {f"{depth} levels": "[" * depth + "]" * depth for depth in (25, 900)}


def written(value: Any) -> bytes:
    """A value as JSON, with the brackets of `DEEP` written out."""
    text = json.dumps(value)
    for name, brackets in DEEP.items():
        text = text.replace(f'"{name}"', brackets)
    return text.encode()


def spoiled_text(text: str, draw: random.Random) -> bytes:
    """The same file torn, overwritten or in another encoding."""
    data = text.encode()
    place = draw.randrange(len(data) + 1)
    return draw.choice(
        [
            data[:place],
            data[:place] + bytes(draw.randrange(256) for _ in range(8)) + data[place + 8 :],
            b"",
            b"[" * 100_000,
            b"{" + b'"a":{' * 500 + b"}" * 501,
            text.encode("utf-16"),
            b"null",
            b"[1]",
            b'{"a": NaN}',
            b"1" * 6000,
            bytes(draw.randrange(256) for _ in range(200)),
        ]
    )


def spoiled_values(value: Any, draw: random.Random) -> Any:
    """A JSON object with one to three of its values, at any depth, replaced or removed."""
    value = json.loads(json.dumps(value))
    for _ in range(draw.randint(1, 3)):
        places: list[tuple[Any, Any]] = []
        stack = [value]
        while stack:
            part = stack.pop()
            keys = list(part) if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ()
            for key in keys:
                places.append((part, key))
                stack.append(part[key])
        if not places:
            break
        owner, key = draw.choice(places)
        if draw.random() < 0.2 and isinstance(owner, dict):
            del owner[key]
        elif draw.random() < 0.1:
            owner[key] = draw.choice(list(DEEP))
        elif isinstance(owner[key], (int, float)) and draw.random() < 0.3:
            owner[key] = owner[key] * draw.choice((-1, 2, 3, 1000, 0.5, 10**9))
        else:
            owner[key] = draw.choice(ODD)
    return value


# Keys by which transformers or peft would fetch code, or take other weights.
TEMPTING = {
    "_attn_implementation": "someone/kernel",
    "attn_implementation": "someone/kernel",
    "auto_map": {"AutoConfig": "someone/repo--code.Config", "AutoModelForCausalLM": "code.Model"},
    "trust_remote_code": True,
    "custom_generate": "someone/repo",
    "quantization_config": {"quant_method": "gptq", "bits": 4},
    "transformers_weights": "../other.safetensors",
    "fusion_config": {"patch_embeddings": True},
    "to_dict": "x",
    "sub_configs": {"x": 1},
    "per_layer_config": {"0": {"hidden_size": 1}},
    "megatron_config": {"x": 1},
    "megatron_core": "antigravity",
    "compile_config": {"backend": "x"},
    "cache_implementation": "x",
    "use_return_dict": 3,
}


class _Reached(Exception):
    """Everything was judged; weights would be read next."""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path | None, list[str]]]:
    """A full checkpoint in shards, one whose tower is described inside, and an adapter on a base; and their JSON."""
    root = tmp_path_factory.mktemp("mutated")
    full, base = root / "llava-full", root / "base"
    for folder in (full, base):
        shutil.copytree(TINY, folder)
    store(full, tensors(full), shards=2)
    lora = root / "llava-lora"
    lora.mkdir()
    shutil.copy(TINY / "config.json", lora)
    shutil.copytree(TINY / "vision_tower", lora / "vision_tower")
    _write_adapter(lora)
    inside = root / "llava-inside"
    shutil.copytree(TINY, inside)
    tower = json.loads((inside / "vision_tower/config.json").read_text())
    config = json.loads((inside / "config.json").read_text()) | {"mm_vision_config": tower, "mm_vision_tower": "gone"}
    (inside / "config.json").write_text(json.dumps(config))
    store(inside, with_tower(inside))
    shutil.move(inside / "vision_tower/preprocessor_config.json", inside)
    anyres = root / "llava-anyres"
    shutil.copytree(PARITY / "llava-tiny-next", anyres)
    siglip, scales = root / "llava-siglip", root / "llava-scales"
    shutil.copytree(TINY, siglip)
    shutil.copytree(PARITY / "families/ov-qwen/siglip_tower", siglip / "vision_tower", dirs_exist_ok=True)
    shutil.copytree(PARITY / "families/s2", scales)
    others = ["tokenizer_config.json", "special_tokens_map.json", "model.safetensors.index.json"]
    others += ["vision_tower/config.json", "vision_tower/preprocessor_config.json"]
    return {
        "full": (
            full,
            None,
            ["config.json", "generation_config.json", *others],
        ),
        "inside": (inside, None, ["config.json", "preprocessor_config.json"]),
        "anyres": (anyres, None, ["config.json"]),
        "siglip": (siglip, None, ["config.json", *others[-2:]]),
        "scales": (scales, None, ["config.json", *others[-2:]]),
        "lora": (lora, base, ["config.json", "adapter_config.json"]),
    }


def _write_adapter(folder: Path) -> None:
    from peft import LoraConfig, get_peft_model

    from llava.model import LlavaLlamaForCausalLM

    model = LlavaLlamaForCausalLM.from_pretrained(TINY, dtype=torch.float32)
    beside = {name: tensor for name, tensor in model.state_dict().items() if "mm_projector" in name}
    torch.save(beside, folder / "non_lora_trainables.bin")
    settings = LoraConfig(r=2, target_modules=r"model\.layers\..*(q|v)_proj", task_type="CAUSAL_LM")
    get_peft_model(model, settings).save_pretrained(folder)


@pytest.fixture
def attempt(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Path | None], str]:
    """Load up to where weights are read; `reached`, or the line of the refusal."""

    def stop(*_: Any, **__: Any) -> None:
        raise _Reached

    monkeypatch.setattr(builder, "make_model", stop)
    monkeypatch.setattr(builder, "make_merged", stop)

    def load(folder: Path, base: Path | None) -> str:
        try:
            builder.load_pretrained_model(str(folder), str(base) if base else None, "llava", device="cpu")
        except InputError as refused:
            assert "\n" not in str(refused) and len(str(refused)) < 2000
            return str(refused)
        except _Reached:
            return "reached"
        raise AssertionError("it went on")

    return load


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["full", "inside", "anyres", "siglip", "scales", "lora"])
def test_mutated_json(checkpoints: dict[str, Any], attempt: Callable[..., str], name: str, seed: int) -> None:
    folder, base, files = checkpoints[name]
    draw, outcomes = random.Random(seed), set()
    assert attempt(folder, base) == "reached"
    for number in range(60 if seed == 0 else 150):
        file = folder / draw.choice(files)
        whole = file.read_text()
        kind = draw.random()
        if kind < 0.2:
            spoiled = spoiled_text(whole, draw)
        elif kind < 0.3:
            chosen = draw.choice(list(TEMPTING))
            spoiled = written(json.loads(whole) | {chosen: TEMPTING[chosen]})
        else:
            spoiled = written(spoiled_values(json.loads(whole), draw))
        file.write_bytes(spoiled)
        try:
            outcomes.add(attempt(folder, base) == "reached")
        except Exception as error:
            raise AssertionError(f"mutation {number} of {file.name}: {spoiled[:3000]!r}") from error
        finally:
            file.write_text(whole)
    assert outcomes == {True, False}
