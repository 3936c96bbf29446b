"""A LoRA adapter on disk: its settings, judged, and its tensors."""

import importlib.util
import re
from dataclasses import dataclass
from typing import Any

from llava.errors import InputError, shown
from llava.files.reading import reason
from llava.model.checkpoint.config import DOES_NOT_FIT
from llava.model.checkpoint.folder import Folder
from llava.model.checkpoint.rules import (
    Rule,
    check,
    either,
    flag,
    list_of,
    nullable,
    number,
    one_of,
    pattern,
    positive,
    table_of,
    text,
    whole,
)
from llava.model.checkpoint.tensors import State, read_file

CONFIG = "adapter_config.json"
TENSORS = ("adapter_model.safetensors", "adapter_model.bin")
WHAT = "a LoRA adapter's adapter_config.json"

_RANK = whole(1, 2**16)
_NAMES = list_of(text(500))
# Those that peft merges; what else it can be told changes the base, or names a module of code.
RULES: dict[str, Rule] = {
    "r": _RANK,
    "lora_alpha": positive(2**20),
    "lora_dropout": number(0, 1),
    "target_modules": nullable(either(pattern(), _NAMES)),
    "exclude_modules": nullable(either(pattern(), _NAMES)),
    "bias": one_of("none", "all", "lora_only"),
    "fan_in_fan_out": flag(),
    "use_rslora": flag(),
    "use_dora": flag(),
    "lora_bias": flag(),
    "modules_to_save": nullable(_NAMES),
    "layers_to_transform": nullable(either(whole(0, 1024), list_of(whole(0, 1024)))),
    "layers_pattern": nullable(either(text(500), _NAMES)),
    "rank_pattern": table_of(_RANK),
    "alpha_pattern": table_of(positive(2**20)),
}
_KINDS: dict[str, Rule] = {
    "peft_type": one_of("LORA"),
    "task_type": nullable(one_of("CAUSAL_LM")),
    # The others change the base model's weights when they begin.
    "init_lora_weights": nullable(either(flag(), one_of("gaussian", "orthogonal"))),
    **dict.fromkeys(
        (
            *("megatron_config", "layer_replication", "target_parameters", "trainable_token_indices"),
            *("alora_invocation_tokens", "use_qalora", "use_bdlora"),
        ),
        Rule("nothing, as it cannot be merged here", lambda value: not value),
    ),
}


@dataclass(frozen=True)
class Adapter:
    """What peft makes an adapter of.

    Attributes:
        settings: arguments of peft's LoraConfig.
        tensors: as in the file.
        origin: the folder.
    """

    settings: dict[str, Any]
    tensors: State
    origin: str


def is_adapter(folder: Folder) -> bool:
    """True for a folder with an adapter's files, whatever its name."""
    return any(folder.find(name) for name in (CONFIG, *TENSORS))


def read_adapter(folder: Folder) -> Adapter:
    """An adapter, with nothing made of it yet.

    Raises:
        InputError: when a file is missing or torn, or says what cannot be merged into a model.
    """
    if importlib.util.find_spec("peft") is None:
        raise InputError("LoRA checkpoints need peft: it is not installed; pip install 'visiondrop[lora]'")
    files = [found for found in map(folder.find, TENSORS) if found]
    raw = folder.read_object(CONFIG)
    if raw is None or not files:
        lost = CONFIG if raw is None else " or ".join(TENSORS)
        raise InputError(
            f"a LoRA adapter must be readable: got '{folder.path}', expected {CONFIG} and adapter_model in it, and "
            f"there is no {lost}; give the folder that training wrote"
        )
    where = f"{folder.path}/{CONFIG}"
    check(raw, RULES | _KINDS, WHAT, where)
    if not raw.get("target_modules"):
        raise InputError(f"{WHAT} must fit: {shown(where, 300)} names no target_modules; fetch the file again")
    return Adapter({name: value for name, value in raw.items() if name in RULES}, read_file(files[0]), folder.path)


def merge(model: Any, adapter: Adapter) -> Any:
    """The model with an adapter added to its weights; the model is changed.

    Raises:
        InputError: when the adapter's tensors are not those its settings make on this model.
    """
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    try:
        excluded = _excluded(adapter)
        tuned = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **adapter.settings | excluded))
        tensors = {_today(name): tensor[...] for name, tensor in adapter.tensors.items()}
        wanted = get_peft_model_state_dict(tuned, save_embedding_layers=False)
        _compare(tensors, wanted, adapter.origin)
        set_peft_model_state_dict(tuned, tensors)
        return tuned.merge_and_unload()
    except InputError:
        raise
    except DOES_NOT_FIT as error:
        raise InputError(
            f"a LoRA adapter must fit its base: '{adapter.origin}' does not ({reason(error)}); give the base it "
            f"was trained on"
        ) from error


def _excluded(adapter: Adapter) -> dict[str, str]:
    """peft's `exclude_modules`: also the tower and the projector, where they were not there when LoRA was trained.

    peft finds its targets by the end of a name, and a tower's q_proj ends like a decoder's.
    """
    own = adapter.settings.get("exclude_modules")
    patterns = [own] if isinstance(own, str) else [rf"(.*\.)?{re.escape(name)}" for name in own or []]
    for part in ("vision_tower", "mm_projector"):
        if not any(f".{part}." in name and ".lora_" in name for name in adapter.tensors):  # biases lie there too
            patterns.append(rf".*\.{part}\..*")
    return {"exclude_modules": "|".join(f"(?:{pattern})" for pattern in patterns)} if patterns else {}


def _today(name: str) -> str:
    """transformers 5 has one level less in CLIP than LLaVA's checkpoints."""
    return name.replace("vision_tower.vision_tower.vision_model.", "vision_tower.vision_tower.")


def _compare(tensors: State, wanted: State, origin: str) -> None:
    lost, foreign = sorted(set(wanted) - set(tensors)), sorted(set(tensors) - set(wanted))
    wrong = [name for name in wanted if name in tensors and tensors[name].shape != wanted[name].shape]
    for problem, names in (("missing", lost), ("unexpected", foreign), ("of a wrong shape", wrong)):
        if names:
            raise InputError(
                f"tensors of a LoRA adapter must be those of its {CONFIG}: {len(names)} {problem} in '{origin}', such "
                f"as {shown(names[0], 200)}; use the config that belongs to the weights"
            )
