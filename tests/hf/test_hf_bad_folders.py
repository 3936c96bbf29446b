"""Folders in transformers' layout that are damaged or say what cannot be: one line, exit code 2."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import call
from conftest import PARITY
from hf_folders import exported, qwens  # noqa: F401  fixtures
from safetensors.torch import load_file, save_file
from tiny_checkpoints import copied, reconfigure

IMAGES = PARITY / "families" / "images"


def _without(folder: Path, tensor: str, extra: str | None = None) -> None:
    state = load_file(folder / "model.safetensors")
    value = state.pop(next(name for name in state if name.endswith(tensor)))
    save_file(state | ({extra: value} if extra else {}), folder / "model.safetensors", metadata={"format": "pt"})


def _sharded(folder: Path) -> None:
    """An index that names a file which is not there."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    where = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(state)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))


def _cut(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def _in_text(folder: Path, **changes: Any) -> None:
    said = json.loads((folder / "config.json").read_text())
    reconfigure(folder, text_config=said["text_config"] | changes)


SPOILT: dict[str, Callable[[Path], Any]] = {
    "a tensor is missing": lambda f: _without(f, "layers.1.mlp.up_proj.weight"),
    "a tensor has another name": lambda f: _without(f, "layers.1.mlp.up_proj.weight", "layers.1.mlp.other.weight"),
    "a shard is missing": _sharded,
    "weights are cut off": _cut,
    "no weights": lambda f: (f / "model.safetensors").unlink(),
    "no processor": lambda f: (f / "preprocessor_config.json").unlink(),
    "processor is no JSON": lambda f: (f / "preprocessor_config.json").write_text("{"),
    "another processor": lambda f: (f / "preprocessor_config.json").write_text(
        '{"image_processor_type": "ViTImageProcessor"}'
    ),
    "processor of texts": lambda f: (f / "preprocessor_config.json").write_text('{"patch_size": "14", "size": "x"}'),
    "no tokenizer": lambda f: [file.unlink() for file in f.glob("tokenizer.*")],
    "tokenizer is cut off": lambda f: [file.write_bytes(file.read_bytes()[:999]) for file in f.glob("tokenizer.*")],
    "no chat template": lambda f: [file.unlink() for file in f.glob("chat_template*")] and _no_chat(f),
    "chat template is none": lambda f: [(f / "chat_template.jinja").write_text("{% for %}")],
    "config is no JSON": lambda f: (f / "config.json").write_text("{"),
    "config is a list": lambda f: (f / "config.json").write_text("[]"),
    "depth is a text": lambda f: _in_text(f, num_hidden_layers="5"),
    "depth is huge": lambda f: _in_text(f, num_hidden_layers=10**9),
    "width is null": lambda f: _in_text(f, hidden_size=None),
    "width is another": lambda f: _in_text(f, hidden_size=64),
    "heads do not divide": lambda f: _in_text(f, num_attention_heads=5, num_key_value_heads=2),
    "text is a list": lambda f: reconfigure(f, text_config=[1]),
    "vision is a text": lambda f: reconfigure(f, vision_config="clip"),
    "type is unknown": lambda f: reconfigure(f, model_type="qwen9_vl"),
    "type is a number": lambda f: reconfigure(f, model_type=7),
    "quantised otherwise": lambda f: reconfigure(f, quantization_config={"quant_method": "gptq", "bits": 4}),
    "end token is a text": lambda f: (f / "generation_config.json").write_text('{"eos_token_id": "end"}'),
}


def _processor(folder: Path, **said: Any) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps(said))


def _no_chat(folder: Path) -> None:
    said = json.loads((folder / "tokenizer_config.json").read_text())
    said.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(said))


# What is judged elsewhere for LLaVA's layout is judged there for this one too.
OF_LLAVA = ("a tensor is missing", "a shard is missing", "no processor", "another processor", "no tokenizer")
OF_LLAVA += ("no chat template", "chat template is none", "width is null", "width is another", "text is a list")
OF_LLAVA += ("vision is a text", "quantised otherwise")


@pytest.mark.parametrize(
    ("kind", "spoilt"), [*(("qwen2_5", one) for one in SPOILT), *(("llava-tiny", one) for one in OF_LLAVA)]
)
def test_a_bad_folder_is_one_line(
    kind: str,
    spoilt: str,
    qwens: dict[str, Path],
    exported: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    folder = copied((qwens | exported)[kind], tmp_path / "bad")
    SPOILT[spoilt](folder)
    done = call(
        "run_llava", capsys, "--model-path", folder, "--image-file", IMAGES / "small.png", "--query", "What?",
        "--temperature", 0, "--max_new_tokens", 2, "--device", "cpu",
    )  # fmt: skip
    assert done.code == 2 and done.err.splitlines()[-1].startswith("error: "), (done.code, done.err)
    assert sum(line.startswith("error") for line in done.err.splitlines()) == 1 and "Traceback" not in done.err
