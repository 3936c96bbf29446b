"""What was loaded of transformers' own, in one line."""

from collections.abc import Mapping
from typing import Any

from llava.errors import shown
from llava.hf.plan import COUNTS
from llava.hf.processing import PromptProcessor


def describe_host(model: Any, processor: PromptProcessor, method: str, settings: Mapping[str, Any]) -> str:
    """A model in one line: family, language model, tower, tokens of a picture, and the method with its settings.

    Example: `Qwen2.5-VL on a language model of 28 layers, its own tower of 32, pictures of any size (4 to 16384 tokens,
    28 pixels each way), method visiondrop: 11.1 % of a picture's tokens per layer on average`.
    """
    text, vision = model.config.get_text_config(), model.config.vision_config
    depth = getattr(vision, "depth", None) or vision.num_hidden_layers
    said = settings_said(settings)
    return (
        f"{processor.host.name} on a language model of {text.num_hidden_layers} layers, its own tower of {depth}, "
        f"{_pictures(processor)}, method {method}{': ' if said else ''}{said}"
    )


def settings_said(settings: Mapping[str, Any]) -> str:
    """A method's settings for a person, shares in per cent; empty where there are none.

    Example: `dominant 65 % of a picture's tokens, contextual 5 % of a picture's tokens`.
    """
    said = []
    for name, value in settings.items():
        share = isinstance(value, float) and name in ("retain", *COUNTS)
        text = f"{100 * value:.3g} % of a picture's tokens" if share else shown(value)
        if name == "retain":
            said.append(f"{text}{'' if share else ' tokens'} per layer on average")
        else:
            said.append(f"{name} {text}")
    return ", ".join(said)


def _pictures(processor: PromptProcessor) -> str:
    own = processor.image_processor
    if processor.per_tile:
        tiles = f" in up to {own.max_patches} tiles and a thumbnail" if own.crop_to_patches else ""
        return f"pictures{tiles} ({processor.per_tile} tokens each)"
    edge = own.patch_size * own.merge_size
    size = own.size if isinstance(own.size, dict) else dict(own.size)
    least, most = (max(1, int(size[name]) // edge**2) for name in ("shortest_edge", "longest_edge"))
    return f"pictures of any size ({least} to {most} tokens, {edge} pixels each way)"
