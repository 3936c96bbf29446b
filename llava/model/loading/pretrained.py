"""`from_pretrained` and `save_pretrained` of a LLaVA: whole, with its vision tower, under LLaVA's names."""

import copy
from pathlib import Path
from typing import Any

from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import WeightRenaming

from llava.errors import InputError, shown
from llava.model.checkpoint.adapter import is_adapter
from llava.model.checkpoint.config import WHAT, make_config, read_raw_config, rules_of, settings_of
from llava.model.checkpoint.families import FAMILIES, family_of, family_with
from llava.model.checkpoint.folder import HUB_ARGUMENTS, Folder
from llava.model.checkpoint.generation import read_generation_config
from llava.model.checkpoint.quantized import quantization
from llava.model.checkpoint.rules import check
from llava.model.checkpoint.tensors import dtype_of
from llava.model.devices import is_offloaded, whole_state
from llava.model.language_model.shared_attention import SHARED_PREFIX
from llava.model.loading.making import make_model
from llava.model.loading.placement import dtype_for
from llava.model.loading.state import check_state, read_state
from llava.model.multimodal_encoder.image_processor import build_image_processor
from llava.model.multimodal_encoder.scales import feature_width, view_size
from llava.model.multimodal_encoder.source import TowerSource, locate_tower
from llava.model.multimodal_encoder.tower_configs import has_cls

KERNELS = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", SHARED_PREFIX)
# Checkpoints are written as LLaVA writes them; transformers turns this round when it saves.
for name in FAMILIES:
    decoder = "transformer" if name == "llava_mpt" else "model"
    register_checkpoint_conversion_mapping(
        name,
        [
            WeightRenaming(
                rf"^{decoder}\.vision_tower\.vision_tower\.vision_model\.", f"{decoder}.vision_tower.vision_tower."
            )
        ],
        overwrite=True,
    )


class FromCheckpoint:
    """Mixed in before a transformers causal LM."""

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: Any = None, *model_args: Any, config: Any = None, **kwargs: Any
    ) -> Any:
        """transformers' `from_pretrained`, with the weights of a vision tower that lies beside the checkpoint.

        The plain language model of the family (`model_type` llama, mistral, qwen2, mpt) loads too, without eyes;
        `initialize_vision_modules` gives it some.

        Raises:
            InputError: as `llava.model.builder.load_pretrained_model`.
        """
        path = pretrained_model_name_or_path
        if path is None or kwargs.get("state_dict") is not None or kwargs.get("gguf_file") is not None:
            return super().from_pretrained(path, *model_args, config=config, **kwargs)
        folder = Folder(str(path), {name: kwargs.pop(name) for name in HUB_ARGUMENTS if name in kwargs})
        if is_adapter(folder):
            raise InputError(
                f"a LoRA adapter is no model by itself: got '{path}'; load it with "
                f"llava.model.builder.load_pretrained_model and its model_base"
            )
        config = _judged(cls, config, folder, kwargs)
        source = prepare_tower(config, folder) if getattr(config, "mm_vision_tower", None) else None
        processor = build_image_processor(source, view_size(config, source.config)) if source is not None else None
        state = read_state(folder, {}, source)
        check_state(state, config, cls, folder.path)
        own = getattr(config, "dtype", None), dtype_of(state)
        dtype = dtype_for(kwargs.pop("dtype", None), kwargs.pop("torch_dtype", None), "auto", own)
        bits = quantization(config, dtype, given=kwargs.pop("quantization_config", None))
        with_info, generation = kwargs.pop("output_loading_info", False), kwargs.pop("generation_config", None)
        model = make_model(cls, state, config, folder.path, dtype=dtype, quantization_config=bits, **kwargs)
        finish(model, source, processor, generation or read_generation_config(folder), folder.path)
        nothing: dict[str, Any] = {"missing_keys": set(), "unexpected_keys": set(), "mismatched_keys": set()}
        return (model, nothing | {"error_msgs": []}) if with_info else model

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> Any:
        """transformers' `save_pretrained`, with the `preprocessor_config.json` of the vision tower."""
        model: Any = self
        if is_offloaded(model) and not args and "state_dict" not in kwargs:
            kwargs["state_dict"] = whole_state(model)  # transformers would look for some under other names
        saved = super().save_pretrained(save_directory, *args, **kwargs)
        tower = self.get_vision_tower()
        if tower is not None and tower.has_image_processor and kwargs.get("is_main_process", True):
            tower.image_processor.save_pretrained(save_directory)
        return saved


def prepare_tower(config: Any, checkpoint: str | Folder, base: str | Folder | None = None) -> TowerSource:
    """Find the vision tower of a checkpoint and write its geometry into the configuration.

    Args:
        base: what an adapter or a projector was trained on, in which its tower may lie.
    """
    place = Folder(checkpoint) if isinstance(checkpoint, str) else checkpoint
    name = getattr(config, "mm_vision_tower", None)
    if not name:
        raise InputError(f"a LLaVA checkpoint must name its vision tower: '{place.path}' has no mm_vision_tower")
    source = locate_tower(name, place, getattr(config, "mm_vision_config", None), base)
    width, gives = getattr(config, "mm_hidden_size", None), feature_width(config, source.config)
    if width is not None and width != gives:
        raise InputError(
            f"{WHAT} must fit its vision tower: '{place.path}' has mm_hidden_size {width}, and the tower "
            f"{shown(name)} gives {gives} numbers per patch; name the tower it was trained with"
        )
    config.mm_hidden_size = gives
    if not has_cls(source.config):
        config.mm_vision_select_feature = "patch"  # LLaVA does not read it either where there is no [CLS]
    config.mm_vision_config = source.config.to_diff_dict()
    return source


def finish(model: Any, source: TowerSource | None, processor: Any, generation: Any, path: str) -> None:
    """What a model has beside its weights: its image processor, its generation settings, where it came from."""
    if source is not None:
        tower = model.get_vision_tower()
        tower.source, tower.image_processor = source, processor
    if generation is not None:
        model.generation_config = generation
    model.name_or_path = model.config.name_or_path = path


def _judged(cls: Any, config: Any, folder: Folder, kwargs: dict[str, Any]) -> Any:
    """The configuration that is given, or the folder's; settings among the keywords take effect and leave them."""
    if config is None or isinstance(config, (str, Path)):
        raw = read_raw_config(folder if config is None else Folder(str(config), folder.hub))
        family = family_of(raw, folder.path, plain=True)
        if family.config is not cls.config_class:
            raise InputError(
                f"{cls.__name__} loads LLaVA on {family_with(cls.config_class()).name}: got model_type "
                f"{shown(raw.get('model_type'))} in '{folder.path}'; load it with AutoModelForCausalLM or "
                f"load_pretrained_model, which know the class"
            )
        config = make_config(raw, folder.path, family)
    else:
        config, family = copy.deepcopy(config), family_with(config)
        check(settings_of(config.to_dict(), family), rules_of(family), WHAT, folder.path)
        if config._attn_implementation not in KERNELS:
            config._attn_implementation = None
    own = set(rules_of(family)) - {"dtype", "torch_dtype", "quantization_config"}
    given = {name: kwargs.pop(name) for name in list(kwargs) if name in own}
    check(given, rules_of(family), "a setting", "from_pretrained")
    for name, value in given.items():
        setattr(config, name, value)
    return config
