"""LLaVA's helper for its first checkpoints, whose configuration still says that they are LLaMA."""

import json
import os

from llava.errors import InputError, shown
from llava.files.reading import read_json_object
from llava.files.writing import write_text


def auto_upgrade(config: str) -> None:
    """Ask whether a checkpoint of LLaVA's first version may be marked as LLaVA, and do so in its `config.json`.

    Nothing happens to a checkpoint that is marked, to one without `llava` in its path (as in LLaVA), or on a hub. All
    other keys of the file stay.

    Args:
        config: the checkpoint's folder.

    Raises:
        InputError: the checkpoint is of another family, cannot be written, or the answer is not yes.
    """
    path = os.path.join(config, "config.json")
    if "llava" not in config or not os.path.isfile(path):
        return
    settings = read_json_object(path, "a checkpoint's config.json")
    family = settings.get("model_type")
    if isinstance(family, str) and "llava" in family:
        return
    if family != "llama":
        raise InputError(f"only LLaMA checkpoints can become LLaVA: {shown(path, 300)} has model_type {shown(family)}")
    try:
        answer = input(
            f"{path} says llama and is to say llava_llama, which the checkpoint needs to load. Write it? [Y/N] "
        )
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise InputError(f"the checkpoint was not upgraded: the answer was {shown(answer)}, expected yes")
    upgraded = settings | {"model_type": "llava_llama", "architectures": ["LlavaLlamaForCausalLM"]}
    write_text(path, json.dumps(upgraded, indent=2) + "\n")
