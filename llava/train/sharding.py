"""Weights shared out over devices: which ways go with which method, and what a model is told before."""

import importlib.util
import os
from collections.abc import Sequence
from typing import Any

from transformers import TrainerCallback

from llava.errors import InputError, shown
from llava.files.reading import read_json_object
from llava.reduction import Reduction


def check_deepspeed(words: Sequence[Any], kind: type[Reduction]) -> None:
    """Refuse DeepSpeed where it is not installed, its file cannot be read, or a method does not go with it."""
    path = _value(words, "--deepspeed")
    if path is None:
        return
    if kind.question_at_encoder and _stage(path) == 3:
        raise InputError(
            f"under DeepSpeed's ZeRO-3 all devices must call the same modules: {kind.__name__} reads the question in "
            f"the encoder, which a batch of text does not; train with scripts/zero2.json or --fsdp"
        )
    if importlib.util.find_spec("deepspeed") is None:
        raise InputError("--deepspeed needs deepspeed: it is not installed; pip install deepspeed, or leave it out")


def check_fsdp(training: Any, kind: type[Reduction]) -> None:
    """Refuse FSDP where nothing would be shared out, or where a layer cannot be asked outside of its own call."""
    if training.fsdp and training.use_cpu:
        raise InputError("--fsdp needs accelerators: accelerate would share no weights out on a CPU; leave it out")
    version = _fsdp_version(training)
    if version == 1 and kind.at_layer is not Reduction.at_layer:
        raise InputError(
            f"FSDP's version 1 packs a layer's weights away between its calls, when {kind.__name__} asks it for "
            f"attention: got version 1; say version 2, as scripts/fsdp.json and fsdp.yaml do"
        )


def _fsdp_version(training: Any) -> int | None:
    if training.fsdp:
        return int((training.fsdp_config or {}).get("version", 2))
    launched = os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("1", "true", "yes", "on", "y", "t")
    return int(os.environ.get("FSDP_VERSION", "1")) if launched else None


def _value(words: Sequence[Any], flag: str) -> str | None:
    """What a flag is given, as `--flag value` or `--flag=value`; None: it is not there."""
    for at, word in enumerate(map(str, words)):
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
        if word == flag:
            return str(words[at + 1]) if at + 1 < len(words) else ""
    return None


def _stage(path: str) -> Any:
    """ZeRO's stage in a file of DeepSpeed's settings."""
    held = read_json_object(path, "DeepSpeed's settings")
    settings = held.get("zero_optimization", {})
    if not isinstance(settings, dict):
        raise InputError(f"DeepSpeed's zero_optimization must be an object: {shown(path, 300)} has {shown(settings)}")
    return settings.get("stage", 0)


def prepare_sharing(model: Any) -> None:
    """What FSDP shares out unit by unit: the decoder's layers.

    The tower stays with everything else, whole while a batch is seen, so that a method may ask any of its layers and a
    batch without a picture has nothing to wait for.
    """
    model._no_split_modules = {type(layer).__name__ for layer in model.get_model().layers}


class KeepAskedLayers(TrainerCallback):
    """Under FSDP, a layer after which a method asks stays whole until its gradients are known.

    Methods may ask the layer that has just run too. Gathering it again for them alone would leave those devices waiting
    whose batch has no picture.
    """

    def __init__(self, llava: Any) -> None:
        self._llava = llava

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Trainer's hook: the model is shared out by now."""
        keep_asked(self._llava)


def keep_asked(llava: Any) -> None:
    """See `KeepAskedLayers`."""
    layers = llava.get_model().layers
    for first in llava.reduction.layers:
        keep = getattr(layers[first - 1], "set_reshard_after_forward", None)
        if keep is not None:
            keep(False, recurse=False)
