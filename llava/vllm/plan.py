"""Which method a configuration asks vLLM for, and what vLLM cannot do. Nothing here imports vLLM."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from llava.errors import InputError, shown
from llava.hf.llava_eyes import as_llava_says
from llava.model.geometry import geometry_of
from llava.model.multimodal_encoder.tower_configs import CLIP
from llava.reduction import Geometry, Reduction, method_class, name_of, resolve
from llava.reduction.checks import positive
from llava.reduction.resolve import BESIDE

SETTINGS = "visiondrop"  # under this name they stand in the configuration
EXAMPLE = '{"visiondrop": {"method": "visionzip", "retain": 64}}'


def geometry_in(config: Any) -> Geometry:
    """What a method must fit into.

    Args:
        config: transformers' LlavaConfig.

    Raises:
        InputError: for another tower than CLIP, or features of several layers.
    """
    kind, layer = config.vision_config.model_type, config.vision_feature_layer
    if kind != CLIP or not isinstance(layer, int):
        raise InputError(
            f"in vLLM pictures are reduced where CLIP sees them, at one layer: got {shown(kind)} at "
            f"{shown(layer)}; serve this checkpoint with llava.serve.server"
        )
    return geometry_of(as_llava_says(config), config.vision_config)


def method_in(config: Any, retain: int | None = None) -> Reduction:
    """The method that a configuration asks for, checked.

    Args:
        config: transformers' LlavaConfig, with the method under `visiondrop` as `llava.reduction.resolve` takes it.
        retain: image tokens that a request asks for instead; None: as the configuration says.

    Raises:
        InputError: where there is none, for one that does not fit the model, and for what vLLM cannot do.
    """
    geometry, settings = geometry_in(config), getattr(config, SETTINGS, None)
    if not isinstance(settings, (str, Mapping)):
        raise InputError(
            f"--hf-overrides must say how pictures are reduced: got {shown(settings)} for {SETTINGS!r}; write it like "
            f"{EXAMPLE}"
        )
    method = resolve(settings if retain is None else _of_budget(settings, retain), geometry)
    check(method, geometry, _layers_loaded(config, geometry))
    return method


def tokens_of(method: Reduction, config: Any) -> int:
    """Image tokens that every picture gets in the prompt."""
    return method.tokens_per_stage(geometry_in(config))[0]


def check(method: Reduction, geometry: Geometry, loaded: int) -> None:
    """Refuse what vLLM cannot do: it has one length of a prompt for all layers, and keeps pictures' work by their
    pixels, so that questions, and a count that only the pixels say, come too late.

    Args:
        loaded: layers of the vision encoder that vLLM loads.

    Raises:
        InputError: saying which of these it is.
    """
    name, here = name_of(method), "llava.serve.server does this"
    if method.layers:
        more = ", layer_list [] and image_token_list [] leave its stage in the encoder" if name == "visiondrop" else ""
        raise InputError(
            f"vLLM keeps one length of a prompt through all layers of the LLM: got {name}, which drops after layers "
            f"{shown(method.layers)}; choose a method of the encoder such as visionzip{more}; {here}"
        )
    if method.keeps_gaps:
        raise InputError(
            f"vLLM numbers what enters the LLM 0, 1, 2: got {name}, which leaves gaps between positions; take "
            f"positions renumber, or another method; {here}"
        )
    if method.reads_question:
        raise InputError(
            f"vLLM keeps a picture's tokens for all questions about it: got {name}, which reads the question; choose a "
            f"method that does not, such as visionzip; {here}"
        )
    if method.varies:
        raise InputError(
            f"vLLM counts a picture's tokens before it looks at it: got {name} with settings under which the count "
            f"depends on the picture; choose others; {here}"
        )
    if method.grid(geometry.side) is not None:
        raise InputError(
            f"vLLM's CLIP takes pictures of one size: got {name}, which shows it a smaller one; take pool; {here}"
        )
    late = [
        layer for layer in method.encoder_layers if layer >= loaded or layer < 0 and loaded < geometry.encoder_layers
    ]
    if late:
        raise InputError(
            f"vLLM loads {loaded} layers of this vision encoder, those up to LLaVA's features: got {name}, which asks "
            f"layer {late[0]}; choose another method; {here}"
        )


def _layers_loaded(config: Any, geometry: Geometry) -> int:
    layer = config.vision_feature_layer
    return geometry.encoder_layers + layer + 1 if layer < 0 else layer


def _of_budget(settings: str | Mapping[str, Any], retain: int) -> dict[str, Any]:
    """The settings with another budget; what no budget sets, such as a seed, stays."""
    positive("retain", retain)
    given = {"method": settings} if isinstance(settings, str) else dict(settings)
    kind = method_class(given["method"])
    beside = {field.name for field in dataclasses.fields(kind) if BESIDE & {*field.metadata}} | {"method"}
    return {name: value for name, value in given.items() if name in beside} | {"retain": retain}
