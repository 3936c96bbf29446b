"""Which of transformers' models can be reduced, by what, and with which methods."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import transformers

from llava.errors import InputError
from llava.hf.llava_eyes import LlavaSeeing, clip_geometry
from llava.hf.merged_eyes import DeepSeeing, MergedSeeing
from llava.hf.mrope import MRopeEntering
from llava.hf.plan import REFERENCE, Plan, known_method, plan_of
from llava.hf.staged import Entering
from llava.reduction.base import Geometry, Reduction, name_of
from llava.reduction.registry import available, method_class

# Methods that look at squares of patches, at several layers of CLIP, or run the encoder otherwise.
SQUARE = frozenset({"downsample", "hiprune", "holov", "pool", "prumerge", "prunesid", "tome", "vscan"})


@dataclass(frozen=True)
class Family:
    """What a class of transformers needs.

    Attributes:
        seeing: mixed into its inner model.
        decoder: mixed into its language model.
        decoders: the language models that this is known of.
        geometry: of a given model.
        any_size: pictures differ in size.
        refused: methods that do not apply.
    """

    seeing_mixin: type
    decoder: type
    decoders: tuple[str, ...]
    geometry: Callable[[Any], Geometry]
    any_size: bool
    refused: frozenset[str] = frozenset()

    def seeing(self, host: type) -> type:
        """The class of a call's inner model."""
        return _seeing_class(self.seeing_mixin, host)

    def plan(self, model: Any, method: Any, retain: Any, settings: dict[str, Any]) -> Plan:
        """The checked plan of `reduce`."""
        kind = known_method(method)
        if kind is not None:
            self._check_method(kind, type(model).__name__)
        return plan_of(method, retain, settings, self.geometry(model), self.any_size)

    def _check_method(self, kind: type[Reduction], model: str) -> None:
        name = name_of(kind)
        if kind.question_at_encoder:
            raise InputError(
                f"{name} reads the question before the LLM with CLIP's text tower, which transformers' models do not "
                f"have: got it for {model}; choose another method"
            )
        if name in self.refused:
            raise InputError(
                f"{name} is known of square views of CLIP or SigLIP alone: got it for {model}; choose one of "
                f"{', '.join(self.methods())}"
            )

    def methods(self) -> list[str]:
        """The methods there are for it."""
        fit = [name for name in available() if not method_class(name).question_at_encoder]
        return [name for name in fit if name not in self.refused]


@functools.cache
def _seeing_class(mixin: Any, host: Any) -> type:
    """`generate` decides by the signature of `get_image_features` what it passes: it is the host's."""
    method = functools.wraps(host.get_image_features)(mixin.get_image_features)
    return type(f"{mixin.__name__}{host.__name__}", (mixin, host), {"get_image_features": method})


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
FAMILIES = {
    "LlavaForConditionalGeneration": Family(LlavaSeeing, Entering, COUNTED, clip_geometry, False),
    "LlavaNextForConditionalGeneration": Family(LlavaSeeing, Entering, COUNTED, clip_geometry, False),
    "LlavaOnevisionForConditionalGeneration": Family(LlavaSeeing, Entering, COUNTED, clip_geometry, False),
    "Qwen2VLForConditionalGeneration": Family(
        MergedSeeing, MRopeEntering, ("Qwen2VLTextModel",), _merged_geometry, True, SQUARE
    ),
    "Qwen2_5_VLForConditionalGeneration": Family(
        MergedSeeing, MRopeEntering, ("Qwen2_5_VLTextModel",), _merged_geometry, True, SQUARE
    ),
    "Qwen3VLForConditionalGeneration": Family(
        DeepSeeing, MRopeEntering, ("Qwen3VLTextModel",), _merged_geometry, True, SQUARE
    ),
}


def supported() -> list[str]:
    """The names of transformers' classes that can be reduced."""
    return sorted(FAMILIES)


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
