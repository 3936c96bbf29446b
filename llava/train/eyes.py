"""Tower and projector of a run, judged before any weight of a model is read."""

import copy
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch

from llava.errors import InputError, shown
from llava.model.checkpoint.tensors import read_file
from llava.model.multimodal_encoder.builder import build_vision_tower
from llava.model.multimodal_projector.builder import build_vision_projector
from llava.model.vision_modules import check_pretrained


def check_eyes(arguments: Any, config: Any, width: int) -> None:
    """Refuse a tower's layer, a kind of projector or a file of pretrained weights that does not fit.

    Args:
        arguments: LLaVA's model arguments.
        config: the language model's, with those arguments.
        width: of the tower's features.

    Raises:
        InputError: naming the setting, or the tensors of the file.
    """
    beside = {key: getattr(config, key, None) for key in ("s2", "s2_scales")}
    beside["name_or_path"] = str(arguments.model_name_or_path)  # the tower may lie in the checkpoint's folder
    told = copy.copy(config)  # MPT's calls its widths otherwise, and answers to these names
    told.mm_hidden_size = width
    with torch.device("meta"):
        build_vision_tower(SimpleNamespace(**vars(arguments), **beside), delay_load=True)
        projector = build_vision_projector(told)
    if arguments.pretrain_mm_mlp_adapter is not None:
        path = str(arguments.pretrain_mm_mlp_adapter)
        check_pretrained(projector, path)
        _check_numbers(path)


def check_projector(raw: Mapping[str, Any], kind: Any) -> None:
    """Refuse another kind of projector than a finished LLaVA has: its weights would stay, under the wrong name.

    Args:
        raw: the config.json that training starts from; a plain language model has no projector yet.
        kind: `mm_projector_type`.
    """
    own = raw.get("mm_projector_type", "linear")
    if "mm_vision_tower" in raw and kind != own:
        raise InputError(
            f"--mm_projector_type must be that of the LLaVA that goes on: got {shown(kind)}, and it has {shown(own)}; "
            f"leave the flag out, or start from its language model"
        )


def _check_numbers(path: str) -> None:
    """One NaN in a projector makes every loss NaN."""
    for name, held in read_file(path).items():
        tensor = held[...]
        if "mm_projector" in name and not (tensor.is_floating_point() and bool(tensor.isfinite().all())):
            raise InputError(
                f"a pretrained projector must be made of finite numbers: {shown(name)} of {shown(path, 300)} is "
                f"{'of ' + str(tensor.dtype) if not tensor.is_floating_point() else 'not'}; train it again"
            )
