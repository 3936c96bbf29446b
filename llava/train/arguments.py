"""The arguments of LLaVA's training, in its spelling and with its defaults."""

from dataclasses import dataclass, field
from typing import Any

import transformers

from llava.errors import InputError, shown


def _said(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class ModelArguments:
    """Which model, and what of it is trained."""

    model_name_or_path: str | None = _said("facebook/opt-125m", "language model, or a LLaVA checkpoint to go on from")
    version: str | None = _said("v0", "conversation template; v0 and v0.5 stand for vicuna_v1")
    freeze_backbone: bool = _said(False, "keep the decoder as it is; its output layer and the projector are trained")
    tune_mm_mlp_adapter: bool = _said(False, "train the projector only")
    vision_tower: str | None = _said(None, "vision tower: a folder or hub id; unset: text alone is trained")
    mm_vision_select_layer: int | None = _said(-1, "hidden state of the tower; published recipes take -2")
    pretrain_mm_mlp_adapter: str | None = _said(None, "file with the weights of a pretrained projector")
    mm_projector_type: str | None = _said("linear", "linear, mlpNx_gelu or identity")
    mm_use_im_start_end: bool = _said(False, "write an image between two tokens of their own")
    mm_use_im_patch_token: bool = _said(True, "add the token <im_patch>, which nothing uses")
    mm_patch_merge_type: str | None = _said("flat", "flat, spatial or spatial_unpad")
    mm_vision_select_feature: str | None = _said("patch", "patch or cls_patch")


@dataclass
class DataArguments:
    """What is trained on."""

    data_path: str | None = _said(None, "LLaVA's JSON of conversations")
    lazy_preprocess: bool = _said(False, "accepted; samples are always made when they are needed")
    is_multimodal: bool = _said(False, "accepted; true where there is a vision tower")
    image_folder: str | None = _said(None, "what paths of pictures are relative to")
    image_aspect_ratio: str = _said("square", "square (crop the centre), pad or anyres")
    image_grid_pinpoints: str | None = _said(None, "tile grids of anyres; unset: LLaVA-NeXT's five")
    official_masking: bool = _said(False, "LLaVA's own masking of targets, with the samples that it loses")
    check_pictures: bool = _said(True, "look at the head and the end of every picture before the first step")


@dataclass
class TrainingArguments(transformers.TrainingArguments):
    """transformers' own, and LLaVA's."""

    cache_dir: str | None = _said(None, "where files of a hub are kept")
    optim: str = _said("adamw_torch", "the optimiser")
    logging_nan_inf_filter: bool = _said(False, "log a loss that is no number as it is, and stop; True: hide it")
    remove_unused_columns: bool = _said(False, "a batch's images are no argument of the text model")
    freeze_mm_mlp_adapter: bool = _said(False, "keep the projector as it is")
    unfreeze_mm_vision_tower: bool = _said(False, "train the vision tower too (LLaVA-NeXT)")
    mm_vision_tower_lr: float | None = _said(None, "learning rate of the vision tower")
    mpt_attn_impl: str | None = _said("triton", "accepted; attention is chosen by --attn_implementation")
    attn_implementation: str = _said("sdpa", "attention kernels: sdpa, flash_attention_2 or eager")
    model_max_length: int = _said(512, "ids of a sample, and tokens with its image's")
    double_quant: bool = _said(True, "QLoRA: quantise the quantisation's constants")
    quant_type: str = _said("nf4", "QLoRA: nf4 or fp4")
    bits: int = _said(16, "16, or 8 or 4: a base quantised by bitsandbytes")
    lora_enable: bool = _said(False, "train a LoRA adapter and the projector")
    lora_r: int = _said(64, "rank")
    lora_alpha: int = _said(16, "scale, divided by the rank")
    lora_dropout: float = _said(0.05, "dropout in front of the adapter")
    lora_weight_path: str = _said("", "accepted; never read")
    lora_bias: str = _said("none", "biases trained too: none, all, or lora_only (of layers with an adapter)")
    lora_qv_proj_only: bool = _said(False, "adapters on q_proj and v_proj only")
    mm_projector_lr: float | None = _said(None, "learning rate of the projector")
    group_by_modality_length: bool = _said(False, "batches of one modality and of like length")

    def __post_init__(self) -> None:
        super().__post_init__()
        # The order of samples is torch's own, as in LLaVA, and not accelerate's.
        self.accelerator_config.use_seedable_sampler = False
        self.average_tokens_across_devices = False


def check_arguments(model: ModelArguments, data: DataArguments, training: TrainingArguments) -> None:
    """Refuse what cannot be trained, before anything is loaded.

    Raises:
        InputError: naming the flags.
    """
    if not data.data_path:
        raise InputError("training needs data: got no --data_path; give LLaVA's JSON of conversations")
    if not model.model_name_or_path:
        raise InputError("training needs a model: got no --model_name_or_path; give a folder or hub id")
    if model.tune_mm_mlp_adapter and training.freeze_mm_mlp_adapter:
        raise InputError(
            "--tune_mm_mlp_adapter trains the projector and --freeze_mm_mlp_adapter keeps it as it is: got both, so "
            "nothing would be trained; leave one out"
        )
    if model.vision_tower is None and (model.tune_mm_mlp_adapter or training.unfreeze_mm_vision_tower):
        raise InputError("a projector or tower is trained with a vision tower: got no --vision_tower; give one")
    for name in ("lora_enable", "unfreeze_mm_vision_tower"):
        if model.tune_mm_mlp_adapter and getattr(training, name):
            raise InputError(f"--tune_mm_mlp_adapter trains the projector only: got --{name} with it; leave one out")
    if model.tune_mm_mlp_adapter and model.mm_use_im_start_end:
        raise InputError(
            "<im_start> and <im_end> are trained with the language model: got --mm_use_im_start_end with "
            "--tune_mm_mlp_adapter; leave one out"
        )
    biases = ("none", "all", "lora_only")
    for name, allowed in (("bits", (4, 8, 16)), ("quant_type", ("nf4", "fp4")), ("lora_bias", biases)):
        _one_of(name, getattr(training, name), allowed)
    _one_of("attn_implementation", training.attn_implementation, ("sdpa", "flash_attention_2", "eager"))
    if training.bits != 16 and not training.lora_enable:
        raise InputError(f"a quantised base cannot be trained itself: got --bits {training.bits}; add --lora_enable")
    if not 0 <= training.lora_dropout < 1:
        raise InputError(f"--lora_dropout must be from 0 to below 1: got {training.lora_dropout}")
    for name in ("learning_rate", "mm_projector_lr", "mm_vision_tower_lr"):
        rate = getattr(training, name)
        if rate is not None and not 0 <= rate < 1e3:
            raise InputError(f"--{name} must be a learning rate of at least 0: got {shown(rate)}")
    if training.mm_vision_tower_lr is not None and not training.unfreeze_mm_vision_tower:
        raise InputError("--mm_vision_tower_lr is for a tower that is trained: add --unfreeze_mm_vision_tower True")


def _one_of(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        listed = ", ".join(map(str, allowed))
        raise InputError(f"--{name} must be known: got {shown(value)}, expected one of {listed}")
