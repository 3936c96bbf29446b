"""Which method the flags of published scripts mean: PyramidDrop's, VisionDrop's and VisionZip's, as they stand."""

import argparse
from collections.abc import Collection
from typing import Any

from llava.errors import InputError
from llava.hf.presets import method_of
from llava.reduction import method_class

# Switches of the published runners, and the method each stands for.
SWITCHES = {"pdrop_infer": "pyramiddrop", "visiondrop_infer": "visiondrop"}


def named_method(args: argparse.Namespace, settings: Collection[str]) -> str:
    """The method that `--method`, a switch or a preset of one method names, else the one whose settings are given.

    Args:
        args: of `add_method_options`.
        settings: names of the methods' settings that were given.

    Raises:
        InputError: two methods are named.
    """
    named = {f"--{flag}": method for flag, method in SWITCHES.items() if getattr(args, flag, False)}
    if args.method is not None:
        named = {"--method": args.method} | named
    preset = method_of(args.preset)
    if preset is not None:
        named[f"--preset {args.preset}"] = preset
    if not named:
        return _implied(set(settings), args.retain is not None or args.preset is not None)
    flag, method = next(iter(named.items()))
    others = [f"{other} ({name})" for other, name in named.items() if name != method]
    if others:
        raise InputError(f"a run has one method: got {flag} ({method}) and {others[0]}; leave one of them out")
    return method


def _implied(settings: set[str], budget: bool) -> str:
    """The method that settings belong to: VisionZip is VisionDrop without its lists, a ratio list is PyramidDrop's."""
    if settings and settings <= {"dominant", "contextual"}:
        return "visionzip"
    if settings & {"dominant", "contextual", "image_token_list"}:
        return "visiondrop"
    if "image_token_ratio_list" in settings:
        return "pyramiddrop"
    return "visiondrop" if budget or "layer_list" in settings else "none"


def without_whole(settings: dict[str, Any]) -> dict[str, Any]:
    """PyramidDrop's settings without the 1.0 that its first published scripts put before the ratios.

    It is the share of tokens before the first listed layer, `[1.0,0.5,0.25,0.125]` for `[8,16,24]`, which later scripts
    leave to the code.
    """
    ratios = settings.get("image_token_ratio_list")
    layers = settings.get("layer_list", method_class("pyramiddrop")().layers)
    if not isinstance(ratios, list) or not isinstance(layers, list) or len(ratios) != len(layers) + 1:
        return settings
    whole = type(ratios[0]) in (int, float) and ratios[0] == 1
    return settings | {"image_token_ratio_list": ratios[1:]} if whole else settings
