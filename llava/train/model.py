"""The model of a run: loaded, given eyes, and set up as LLaVA's flags say."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from llava.errors import InputError, shown
from llava.image_config import check_image_config
from llava.model.checkpoint.config import read_raw_config
from llava.model.checkpoint.families import family_of
from llava.model.checkpoint.folder import Folder
from llava.model.language_model.families import CLASSES
from llava.model.tokenizer import load_tokenizer
from llava.model.vision_modules import NEWLINE, add_rows
from llava.train.arguments import DataArguments, ModelArguments, TrainingArguments
from llava.train.flags import Arguments
from llava.train.modules import choose_trained, computing_dtype, with_lora
from llava.train.saving import Base
from llava.train.sharding import prepare_sharing
from llava.train.tower_attention import written_out

# Grids of tiles in LLaVA-NeXT's training, in views.
NEXT_GRIDS = ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))


@dataclass(frozen=True)
class Prepared:
    """A model that is ready to be trained.

    Attributes:
        model: what the trainer gets: a LLaVA, or PEFT's wrapper around one.
        llava: the LLaVA itself; without a vision tower a plain language model.
        base: what of it is in the checkpoint that training starts from.
    """

    model: Any
    llava: Any
    base: Base


def training_tokenizer(arguments: ModelArguments, training: TrainingArguments) -> Any:
    """The base's tokenizer as LLaVA sets it up: padding on the right, pad = unk (`v0`: `[PAD]` where none is)."""
    tokenizer = load_tokenizer(str(arguments.model_name_or_path))
    tokenizer.model_max_length, tokenizer.padding_side = training.model_max_length, "right"
    if arguments.version == "v0":
        if tokenizer.pad_token is None:
            tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    elif tokenizer.unk_token is not None:
        tokenizer.pad_token = tokenizer.unk_token
    elif tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_base(arguments: ModelArguments, training: TrainingArguments) -> Any:
    """The language model, or LLaVA, that training starts from, in the dtype that is computed in."""
    folder = Folder(str(arguments.model_name_or_path))
    settings: dict[str, Any] = {"attn_implementation": training.attn_implementation}
    settings["dtype"] = computing_dtype(training)
    if training.bits != 16:
        settings |= {"quantization_config": _quantised(training, settings["dtype"])}
        settings |= {"device_map": {"": training.device}}
    raw = read_raw_config(folder)
    if arguments.vision_tower is None and "mm_vision_tower" not in raw:
        model = AutoModelForCausalLM.from_pretrained(folder.path, **settings)
    else:
        family = family_of(raw, folder.path, plain=True)
        model = CLASSES[family.config.model_type].from_pretrained(folder.path, **settings)
    model.config.use_cache = False
    return model


def prepare_model(given: Arguments, tokenizer: Any) -> Prepared:
    """Load the model, add tower, tokens and adapter, and choose what is trained."""
    arguments, data, training = given.model, given.data, given.training
    model = load_base(arguments, training)
    if training.bits != 16:
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(model, training.gradient_checkpointing)
    elif training.gradient_checkpointing:
        model.enable_input_require_grads()
    base = Base.of(model)
    if len(tokenizer) > base.vocabulary:
        add_rows(model, len(tokenizer), len(tokenizer) - base.vocabulary)
    if arguments.vision_tower is not None:
        _give_eyes(model, arguments, data, training, tokenizer)
    if training.unfreeze_mm_vision_tower and training.ddp_find_unused_parameters is None:
        training.ddp_find_unused_parameters = True  # of a tower, the layers behind the selected one
    wrapped = with_lora(model, training) if training.lora_enable else model
    new_newline = any(name.rsplit(".", 1)[-1] == NEWLINE for name in base.lacked_by(model))
    choose_trained(wrapped, arguments, training, model, new_newline)
    if arguments.vision_tower is not None:
        model.reduction = given.method.build(model.geometry)
        prepare_sharing(model)
    return Prepared(wrapped, model, base)


def _give_eyes(
    model: Any, arguments: ModelArguments, data: DataArguments, training: TrainingArguments, tokenizer: Any
) -> None:
    """Tower, projector and special tokens, and what the configuration says of them."""
    if not hasattr(model, "get_vision_tower"):
        raise InputError(f"{shown(arguments.model_name_or_path)} cannot be given a vision tower; choose a LLaMA")
    model.get_model().initialize_vision_modules(arguments, training.fsdp)
    tower, config = model.get_vision_tower(), model.config
    dtype = computing_dtype(training)
    tower.to(dtype=dtype, device=training.device)
    if training.device.type == "cpu" and training.attn_implementation == "sdpa":
        written_out(tower)
    config.image_aspect_ratio = data.image_aspect_ratio
    if data.image_aspect_ratio == "anyres":
        config.image_grid_pinpoints = data.image_grid_pinpoints or next_pinpoints(tower.image_size)
    config.tokenizer_padding_side = tokenizer.padding_side
    config.tokenizer_model_max_length = tokenizer.model_max_length
    config.tune_mm_mlp_adapter = arguments.tune_mm_mlp_adapter
    config.freeze_mm_mlp_adapter = training.freeze_mm_mlp_adapter
    config.mm_use_im_start_end = arguments.mm_use_im_start_end
    config.mm_use_im_patch_token = arguments.mm_use_im_patch_token
    config.mm_projector_lr = training.mm_projector_lr
    if training.unfreeze_mm_vision_tower:
        config.unfreeze_mm_vision_tower, config.mm_vision_tower_lr = True, training.mm_vision_tower_lr
    check_image_config(config, tower.image_size, tower.hidden_size)
    model.initialize_vision_tokenizer(arguments, tokenizer)
    model.get_model().mm_projector.to(dtype=dtype, device=training.device)


def next_pinpoints(edge: int) -> list[list[int]]:
    """[width, height] in pixels of LLaVA-NeXT's grids of views with this edge."""
    return [[edge * columns, edge * rows] for columns, rows in NEXT_GRIDS]


def _quantised(training: TrainingArguments, dtype: torch.dtype) -> Any:
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=training.bits == 4,
        load_in_8bit=training.bits == 8,
        llm_int8_skip_modules=["mm_projector", "vision_tower", "lm_head"],
        llm_int8_threshold=6.0,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_use_double_quant=training.double_quant,
        bnb_4bit_quant_type=training.quant_type,
    )
