"""What of a model is trained: the flags of LLaVA as `requires_grad`, and where LoRA goes."""

from typing import Any

import torch
from torch import nn

from llava.errors import InputError

# Parts of a name where no adapter goes: they are trained whole or not at all.
NO_ADAPTER = ("mm_projector", "vision_tower", "vision_resampler")


def find_all_linear_names(model: nn.Module, only: tuple[str, ...] | None = None) -> list[str]:
    """Names of the linear layers of the language model, without its output layer, that LoRA is put on.

    LLaVA gives PEFT the last part of the names, by which those of a tower match too; these are whole paths.

    Args:
        only: last parts of names; None: all.
    """
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and not any(part in name for part in NO_ADAPTER)
        and name.rsplit(".", 1)[-1] != "lm_head"
        and (only is None or name.rsplit(".", 1)[-1] in only)
    ]


def with_lora(model: Any, training: Any) -> Any:
    """The model in PEFT's wrapper, its adapter trainable and the rest frozen."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise InputError("--lora_enable needs peft: it is not installed; pip install 'visiondrop[lora]'") from error
    only = ("q_proj", "v_proj") if training.lora_qv_proj_only else None
    names = find_all_linear_names(model, only)
    settings = LoraConfig(
        r=training.lora_r,
        lora_alpha=training.lora_alpha,
        target_modules=names,
        lora_dropout=training.lora_dropout,
        bias=training.lora_bias,
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(model, settings)
    # What adapter_config.json says: LLaVA's own loader knows the layers by the last parts of their names.
    adapted.peft_config["default"].target_modules = {name.rsplit(".", 1)[-1] for name in names}
    return adapted


def choose_trained(model: Any, arguments: Any, training: Any, base: Any = None, new_newline: bool = False) -> None:
    """Set `requires_grad` as LLaVA's flags say.

    Args:
        model: a LLaVA, or with LoRA the wrapper around it.
        arguments, training: LLaVA's model and training arguments.
        base: the LLaVA inside the wrapper; None: the model is it.
        new_newline: the newline token was made for this run: it is trained wherever not the projector alone is, also
            beside a frozen backbone or an adapter, as in LLaVA, which makes it after it has frozen those.
    """
    llava = base if base is not None else model
    inner = llava.get_model() if hasattr(llava, "get_model") else llava.model
    if arguments.freeze_backbone:
        inner.requires_grad_(False)
    if getattr(inner, "vision_tower", None) is not None:
        if new_newline:
            inner.image_newline.requires_grad_(True)
        if arguments.tune_mm_mlp_adapter:
            llava.requires_grad_(False)
        sees = arguments.vision_tower is not None  # else a LLaVA is trained on text alone, and its eyes stay
        inner.vision_tower.requires_grad_(sees and training.unfreeze_mm_vision_tower)
        inner.mm_projector.requires_grad_(sees and not training.freeze_mm_mlp_adapter)
        if not sees and getattr(inner, "image_newline", None) is not None:
            inner.image_newline.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError("nothing is left to train: every parameter is frozen; leave a freezing flag out")


def trained_share(model: nn.Module) -> tuple[int, int]:
    """Numbers that are trained, and all numbers of the model."""
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


def computing_dtype(training: Any) -> torch.dtype:
    """bfloat16 or float16 as the flags say, else float32, whatever the checkpoint holds."""
    return torch.bfloat16 if training.bf16 else torch.float16 if training.fp16 else torch.float32
