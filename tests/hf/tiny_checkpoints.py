"""Folders of tiny random checkpoints of transformers' own models, as transformers saves them, with all their files."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import tiny_hf
import transformers
from conftest import PARITY
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken

QWEN = PARITY / "families" / "ov-qwen"
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for p in m['content'] %}{% if p['type'] == 'image' %}@{% else %}{{ p['text'] }}{% endif %}{% endfor %}"
    "{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MARKS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
KINDS = {"qwen2": 14, "qwen2_5": 14, "qwen3": 16}
# What earlier releases called the tensors.
OLDER = ((r"^model\.visual\.", "visual."), (r"^model\.language_model\.", "model."))


def qwen(folder: Path, name: str, seed: int = 0, older: bool = False) -> Path:
    """A Qwen-VL of random weights; `older`: under the names of transformers 4.51."""
    tokenizer = transformers.Qwen2Tokenizer.from_pretrained(QWEN)
    tokenizer.add_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKS], special_tokens=True)
    start, end, picture, video = (tokenizer.convert_tokens_to_ids(mark) for mark in MARKS)
    made = tiny_hf.MODELS[name](seed)
    said = made.config.to_dict() | {"image_token_id": picture, "video_token_id": video}
    said |= {"vision_start_token_id": start, "vision_end_token_id": end}
    text = said["text_config"] | {"vocab_size": len(tokenizer) + 5, "pad_token_id": tokenizer.pad_token_id}
    said["text_config"] = text | {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    said["vision_config"]["patch_size"] = KINDS[name]
    said.pop("architectures", None)
    model = tiny_hf.shaken(type(made)(type(made.config)(**said)), seed)
    model.generation_config = transformers.GenerationConfig(
        eos_token_id=[tokenizer.eos_token_id], pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(folder)
    tokenizer.chat_template = None  # it is the processor's
    tokenizer.save_pretrained(folder)
    if older:
        rename(folder, OLDER)
    unit = KINDS[name] * 2
    pictures = {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": KINDS[name], "merge_size": 2}
    pictures |= {"temporal_patch_size": 2, "min_pixels": unit**2 * 4, "max_pixels": unit**2 * 30}
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures))
    chat = CHAT.replace("@", "<|vision_start|><|image_pad|><|vision_end|>")
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": chat}))
    return folder


def internvl(folder: Path, seed: int = 0) -> Path:
    """An InternVL of random weights, its files as the published ones: tiles of 56 pixels, 16 tokens each."""
    tokenizer = transformers.Qwen2Tokenizer.from_pretrained(QWEN)
    marks = ("<img>", "</img>", "<IMG_CONTEXT>")
    tokenizer.add_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks], special_tokens=True)
    made = tiny_hf.internvl(seed)
    said = made.config.to_dict() | {"image_token_id": tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")}
    text = said["text_config"] | {"vocab_size": len(tokenizer) + 5, "pad_token_id": tokenizer.pad_token_id}
    said["text_config"] = text | {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    said.pop("architectures", None)
    model = tiny_hf.shaken(type(made)(type(made.config)(**said)), seed)
    model.generation_config = transformers.GenerationConfig(
        eos_token_id=[tokenizer.eos_token_id], pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(folder)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    pictures = {"image_processor_type": "GotOcr2ImageProcessorFast", "crop_to_patches": False, "min_patches": 1}
    pictures |= {"max_patches": 4, "size": {"height": 56, "width": 56}, "do_resize": True, "do_normalize": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures))
    (folder / "processor_config.json").write_text(
        json.dumps({"image_seq_length": 16, "processor_class": "InternVLProcessor"})
    )
    (folder / "chat_template.jinja").write_text(CHAT.replace("@", "<IMG_CONTEXT>\n"))
    return folder


def rename(folder: Path, names: tuple[tuple[str, str], ...]) -> None:
    """Give the tensors of a folder other names."""
    state = load_file(folder / "model.safetensors")
    for pattern, new in names:
        state = {re.sub(pattern, new, name): tensor for name, tensor in state.items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def reconfigure(folder: Path, **changes: Any) -> None:
    """Change `config.json`; None takes a key out."""
    file = folder / "config.json"
    said = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({name: value for name, value in said.items() if value is not None}))


def copied(folder: Path, to: Path) -> Path:
    """A copy to be spoilt."""
    return Path(shutil.copytree(folder, to))
