"""Tower and projector of a run, judged before any weight of a model is read."""

import copy
from types import SimpleNamespace
from typing import Any

import torch

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
        check_pretrained(projector, str(arguments.pretrain_mm_mlp_adapter))
