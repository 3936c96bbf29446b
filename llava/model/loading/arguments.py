"""The loader's keyword arguments: each is followed, known to mean nothing here, or refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llava.errors import InputError, shown
from llava.model.checkpoint.config import LLAVA, make_config, read_config, read_raw_config
from llava.model.checkpoint.families import all_rules, family_of
from llava.model.checkpoint.folder import HUB_ARGUMENTS, Folder

PLACEMENT = ("max_memory", "offload_folder", "offload_buffers")
# Given by programs to other versions of LLaVA or transformers, without effect on what is loaded.
WITHOUT_EFFECT = (
    *("multimodal", "low_cpu_mem_usage", "offload_state_dict", "use_safetensors", "weights_only"),
    *("trust_remote_code", "use_fast", "_fast_init"),
)
_SETTINGS = {*all_rules(), *LLAVA} - {"dtype", "torch_dtype", "quantization_config"}


@dataclass(frozen=True)
class Arguments:
    """Keyword arguments by what they are about.

    Attributes:
        hub: where and how transformers looks on the hub.
        placement: for transformers' `from_pretrained`.
        settings: take the place of the configuration's.
        quantization: the caller's own settings of bitsandbytes.
    """

    hub: Mapping[str, Any]
    placement: Mapping[str, Any]
    settings: Mapping[str, Any]
    quantization: Any = None

    @classmethod
    def sorted(cls, given: Mapping[str, Any]) -> "Arguments":
        """Sort them; InputError for one that nothing here knows."""
        known = {*HUB_ARGUMENTS, *PLACEMENT, *WITHOUT_EFFECT, *_SETTINGS, "quantization_config"}
        unknown = sorted(set(given) - known)
        if unknown:
            raise InputError(
                f"load_pretrained_model takes no argument {shown(unknown[0])}: expected one of its own, of "
                f"{', '.join((*PLACEMENT, *HUB_ARGUMENTS))}, or a key of config.json; correct or drop it"
            )
        hub, placement, settings = (
            {name: given[name] for name in names if name in given} for names in (HUB_ARGUMENTS, PLACEMENT, _SETTINGS)
        )
        return cls(hub, placement, settings, given.get("quantization_config"))


def configured(folder: Folder, customized: Any, overwrite: Mapping[str, Any]) -> Any:
    """The checkpoint's configuration, or the caller's in its place, with some settings overwritten.

    Args:
        customized: LLaVA-NeXT's `customized_config`: a configuration, its settings, or a folder with a config.json.

    Raises:
        InputError: as `read_config`, also for the caller's values.
    """
    if customized is None and not overwrite:
        return read_config(folder.path, folder)
    raw: dict[str, Any]
    if customized is None:
        read_config(folder.path, folder)
        raw = read_raw_config(folder)
    elif isinstance(customized, Mapping):
        raw = dict(customized)
    elif hasattr(customized, "to_dict"):
        raw = customized.to_dict()
    else:
        raw = read_raw_config(Folder(str(customized), folder.hub))
    raw = raw | dict(overwrite)
    named = raw if "model_type" in raw else read_raw_config(folder)
    return make_config(raw, folder.path, family_of(named, folder.path, plain=True))
