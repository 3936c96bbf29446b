"""Which of transformers' models can be reduced, by what, and with which methods."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import transformers

from llava.errors import InputError, shown
from llava.hf.cloning import under_signature
from llava.hf.frames_eyes import OnevisionSeeing
from llava.hf.llava_eyes import LlavaSeeing, clip_geometry
from llava.hf.merged_eyes import DeepSeeing, MergedSeeing, check_layers, layers_to_look_at
from llava.hf.mrope import MRopeEntering
from llava.hf.plan import REFERENCE, Plan, known_method, plan_of, with_settings
from llava.hf.presets import without_preset
from llava.hf.staged import Entering
from llava.hf.tiled_eyes import TiledSeeing, tile_geometry, tile_tokens
from llava.reduction.base import Geometry, Reduction, name_of
from llava.reduction.registry import available, method_class

# Why some methods do not apply to models whose patches are merged behind the tower.
MERGING = {
    "downsample": "sees a smaller square picture, of which such a tower's tokens are not made",
    "prumerge": "ranks and merges by a [CLS] token, which does not enter the LLM here",
    "tome": "merges patches within the tower, of which no squares are left to make tokens of",
}
ANY_SIZE = {**MERGING, "pool": "makes one grid of every square view, and these pictures have any shape"}


@dataclass(frozen=True)
class Family:
    """What a class of transformers needs.

    Attributes:
        seeing: mixed into its inner model.
        decoder: mixed into its language model.
        decoders: the language models that this is known of.
        geometry: of a given model.
        any_size: pictures differ in size.
        refused: methods that do not apply, and why.
        view: tokens of a view, of a given model whose pictures have any number of these.
        settings: those of the methods that look at several layers, of a given model; and a check of others.
    """

    seeing_mixin: type
    decoder: type
    decoders: tuple[str, ...]
    geometry: Callable[[Any], Geometry]
    any_size: bool = False
    refused: Mapping[str, str] = field(default_factory=dict)
    view: Callable[[Any], int] | None = None
    settings: Callable[[Any], dict[str, Any]] | None = None
    check: Callable[[Any, Reduction], None] | None = None

    def seeing(self, host: type) -> type:
        """The class of a call's inner model."""
        return _seeing_class(self.seeing_mixin, host)

    def plan(self, model: Any, method: Any, retain: Any, settings: dict[str, Any]) -> Plan:
        """The checked plan of `reduce`."""
        kind = known_method(method)
        if kind is not None:
            self._check_method(kind, type(model).__name__)
        if self.any_size:
            method, retain, settings = without_preset(method, retain, settings, type(model).__name__)
        view = None if self.view is None else self.view(model)
        own = {} if self.settings is None or kind is None else _own_settings(kind, self.settings(model))
        named = dict(method) if isinstance(method, dict) else {"method": method, **settings}
        own = {name: value for name, value in own.items() if name not in named}
        if own and not isinstance(method, Reduction) and retain is None and "retain" not in named and len(named) > 1:
            method, settings = {**named, **own}, {}
        plan = plan_of(method, retain, settings, self.geometry(model), self.any_size, view)
        if not isinstance(method, Reduction):
            plan = with_settings(plan, own)  # of a budget, with which no other setting goes
        if self.check is not None:
            self.check(model, plan.inside)
        return plan

    def _check_method(self, kind: type[Reduction], model: str) -> None:
        name = name_of(kind)
        if kind.question_at_encoder:
            raise InputError(
                f"{name} reads the question before the LLM with CLIP's text tower, which transformers' models do not "
                f"have: got it for {model}; choose another method"
            )
        if kind.positions_at_entry:
            raise InputError(
                f"{name} leaves gaps between the positions of what enters the LLM, which transformers' classes number "
                f"themselves: got it for {model}; choose another method"
            )
        if name in self.refused:
            raise InputError(
                f"{name} {self.refused[name]}: got it for {model}; choose one of {', '.join(self.methods())}"
            )

    def methods(self) -> list[str]:
        """The methods there are for it."""
        return [name for name in available() if not _asks_too_much(method_class(name)) and name not in self.refused]


def _asks_too_much(kind: type[Reduction]) -> bool:
    """Whether no class of transformers can do it: see `Family._check_method`."""
    return kind.question_at_encoder or kind.positions_at_entry


def _own_settings(kind: type[Reduction], settings: dict[str, Any]) -> dict[str, Any]:
    """Those that a method has."""
    return {name: value for name, value in settings.items() if name in {field.name for field in fields(kind)}}


@functools.cache
def _seeing_class(mixin: Any, host: Any) -> type:
    """`generate` decides by the signatures of `get_image_features` and its like what it passes: they are the host's."""
    names = [name for name in ("get_image_features", "get_video_features") if hasattr(mixin, name)]
    own = {name: under_signature(getattr(mixin, name), getattr(host, name)) for name in names if hasattr(host, name)}
    return type(f"{mixin.__name__}{host.__name__}", (mixin, host), own)


def _merged_geometry(model: Any) -> Geometry:
    """Of a model whose pictures are of any size: that of a picture of `REFERENCE` tokens."""
    text = model.config.text_config
    if "sliding_attention" in (getattr(text, "layer_types", None) or ()):
        raise InputError(
            "a model whose layers look back over a window alone is not reduced: got use_sliding_window; switch it off "
            "in the configuration, as the published checkpoints have it"
        )
    return Geometry(text.num_hidden_layers, REFERENCE, has_cls=False, encoder_layers=model.config.vision_config.depth)


COUNTED = ("LlamaModel", "MistralModel", "Qwen2Model")
_QWEN: dict[str, Any] = {"any_size": True, "refused": ANY_SIZE, "settings": layers_to_look_at, "check": check_layers}
FAMILIES = {
    "InternVLForConditionalGeneration": Family(
        TiledSeeing,
        Entering,
        (*COUNTED, "Qwen3Model"),
        tile_geometry,
        any_size=True,
        refused=MERGING,
        view=tile_tokens,
    ),
    "LlavaForConditionalGeneration": Family(LlavaSeeing, Entering, COUNTED, clip_geometry),
    "LlavaNextForConditionalGeneration": Family(LlavaSeeing, Entering, COUNTED, clip_geometry),
    "LlavaOnevisionForConditionalGeneration": Family(OnevisionSeeing, Entering, COUNTED, clip_geometry),
    "Qwen2VLForConditionalGeneration": Family(
        MergedSeeing, MRopeEntering, ("Qwen2VLTextModel",), _merged_geometry, **_QWEN
    ),
    "Qwen2_5_VLForConditionalGeneration": Family(
        MergedSeeing, MRopeEntering, ("Qwen2_5_VLTextModel",), _merged_geometry, **_QWEN
    ),
    "Qwen3VLForConditionalGeneration": Family(
        DeepSeeing, MRopeEntering, ("Qwen3VLTextModel",), _merged_geometry, **_QWEN
    ),
}


def supported() -> list[str]:
    """The names of transformers' classes that can be reduced."""
    return sorted(FAMILIES)


def methods(name: str) -> list[str]:
    """The methods there are for a class of transformers.

    Raises:
        InputError: for a class that cannot be reduced.
    """
    if name not in FAMILIES:
        raise InputError(f"the class must be one that can be reduced: got {shown(name)}, expected one of {supported()}")
    return FAMILIES[name].methods()


def family_of(model: Any) -> Family:
    """What the class of a model needs.

    Raises:
        InputError: for another.
    """
    kinds = [kind.__name__ for kind in type(model).__mro__ if kind is getattr(transformers, kind.__name__, None)]
    family = next((FAMILIES[kind] for kind in kinds if kind in FAMILIES), None)
    if family is None:
        raise InputError(
            f"llava.hf.reduce takes a model of transformers: got a {type(model).__name__}, expected one of "
            f"{', '.join(supported())}"
        )
    decoder = type(model.model.language_model).__name__
    if decoder not in family.decoders:
        raise InputError(
            f"the language model must be known: got {decoder}, expected one of {', '.join(family.decoders)}; use the "
            f"model that was given"
        )
    return family
