"""What lies in a checkpoint folder, and where its tensors go. Layouts: `docs/checkpoints.md`, LLaVA's model zoo."""

import importlib.util
import os
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import PreTrainedConfig
from transformers.utils import cached_file

from llava.errors import InputError
from llava.model.language_model.llava_llama import LlavaConfig

# LLaVA nests CLIP's own module names; transformers 5 has one level less than the checkpoints.
KEY_MAPPING = {r"^model\.vision_tower\.vision_tower\.vision_model\.": "model.vision_tower.vision_tower."}
# What reading weights raises where a file is torn, absent or no checkpoint.
UNREADABLE = (OSError, EOFError, UnpicklingError, SafetensorError)
# Buffers that old checkpoints saved and nobody reads.
IGNORED_SUFFIXES = (".rotary_emb.inv_freq", ".embeddings.position_ids")


def check_folder(path: str) -> None:
    """Refuse a folder that is not there; what is no absolute path may be a hub id."""
    if os.path.isabs(path) and not os.path.isdir(path):
        raise InputError(f"a checkpoint folder must exist: '{path}' does not; check --model-path and --model-base")


def read_config(path: str) -> LlavaConfig:
    """The configuration of a LLaVA checkpoint in the original layout, from a folder or a hub id.

    Raises:
        InputError: when there is none, or it is of another layout or model family.
    """
    check_folder(path)
    try:
        raw, _ = PreTrainedConfig.get_config_dict(path)
        problem = None if raw else "there is none"
    except (OSError, ValueError) as error:
        problem = first_line(error)
    if problem is not None:
        raise InputError(
            f"a checkpoint needs a readable config.json: got '{path}' ({problem}); give a LLaVA checkpoint as a "
            f"folder or hub id"
        )
    kind = raw.get("model_type")
    if kind == "llava" and "text_config" in raw or kind == "llava_next":
        raise InputError(
            f"checkpoints must be in LLaVA's original layout: got the transformers layout (llava-hf) in '{path}'; use "
            f"the liuhaotian/ checkpoint of the same name"
        )
    if kind not in ("llava", "llava_llama"):
        raise InputError(f"unknown model family '{kind}' in '{path}': expected model_type llava or llava_llama")
    settings = {key: value for key, value in raw.items() if key not in ("model_type", "architectures")}
    return LlavaConfig(**settings)


def read_tensors(folder: str, name: str) -> dict[str, torch.Tensor]:
    """The tensors of a `.bin` beside a checkpoint, on the CPU; nothing but tensors is unpickled."""
    path = cached_file(folder, name, _raise_exceptions_for_missing_entries=False)
    if path is None:
        raise InputError(f"'{folder}' must hold {name}: it does not; give the folder that training wrote")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (*UNREADABLE, RuntimeError) as error:  # a torn zip file is a RuntimeError
        raise unreadable(path, error) from error


def without_prefixes(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names of `non_lora_trainables.bin` as the model has them: PEFT and DeepSpeed put prefixes before them."""
    bare = {name.removeprefix("base_model."): tensor for name, tensor in tensors.items()}
    if any(name.startswith("model.model.") for name in bare):
        bare = {name.removeprefix("model."): tensor for name, tensor in bare.items()}
    nested, flat = "model.vision_tower.vision_tower.vision_model.", "model.vision_tower.vision_tower."
    return {name.replace(nested, flat): tensor for name, tensor in bare.items()}


def put(model: torch.nn.Module, tensors: dict[str, torch.Tensor], origin: str) -> set[str]:
    """Copy tensors into a model by name, keeping its dtype and devices.

    Returns:
        the names that were filled.

    Raises:
        InputError: naming tensors that the model has no place for, or that are of another shape.
    """
    own = dict(model.named_parameters()) | dict(model.named_buffers())
    unknown = sorted(set(tensors) - set(own))
    wrong = [name for name in tensors if name in own and tensors[name].shape != own[name].shape]
    refuse_tensors(
        origin, unexpected=unknown, wrong=[describe_shapes(n, tensors[n].shape, own[n].shape) for n in wrong]
    )
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)
    return set(tensors)


def describe_shapes(name: str, got: Any, expected: Any) -> str:
    """One tensor of a wrong shape, in words."""
    return f"{name} is {tuple(got)}, expected {tuple(expected)}"


def refuse_tensors(
    origin: str, missing: list[str] | None = None, unexpected: list[str] | None = None, wrong: list[str] | None = None
) -> None:
    """Raise an InputError that names the tensors, if there are any."""
    for problem, names in (("missing", missing), ("unexpected", unexpected), ("of a wrong shape", wrong)):
        if names:
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            raise InputError(
                f"tensors of a checkpoint must match its config.json: {len(names)} {problem} in '{origin}': {shown}; "
                f"use the config that belongs to the weights"
            )


def quantization(load_8bit: bool, load_4bit: bool, dtype: torch.dtype) -> Any:
    """transformers' bitsandbytes settings, or None. The vision tower and the projector stay as they are."""
    if not load_8bit and not load_4bit:
        return None
    if load_8bit and load_4bit:
        raise InputError("choose one of 8-bit and 4-bit: got both; drop one")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise InputError(
            "8-bit and 4-bit loading need bitsandbytes: it is not installed; pip install 'visiondrop[quant]'"
        )
    from transformers import BitsAndBytesConfig

    untouched = ["vision_tower", "mm_projector", "lm_head"]
    if load_8bit:
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=untouched)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_quant_type="nf4",
        llm_int8_skip_modules=untouched,
    )


def unreadable(path: str, error: Exception) -> InputError:
    """What to say of weights that are torn, absent, or hold more than tensors."""
    if isinstance(error, UnpicklingError):
        return InputError(
            f"a checkpoint's .bin may hold nothing but tensors: '{path}' holds other objects, which are not unpickled "
            f"because that could run code; get the weights as safetensors"
        )
    return InputError(f"weights of '{path}' cannot be read: {first_line(error)}; copy the checkpoint again")


def first_line(error: Exception) -> str:
    """What an error says, without its advice."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
