"""Which settings are refused, and in which words. Called when a method is made or fitted to a model."""

import sys

from llava.errors import InputError, shown
from llava.reduction.base import Geometry

LARGEST = sys.float_info.max


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def positive(name: str, value: object) -> None:
    """Refuse anything but a whole number above zero."""
    if not _is_count(value):
        raise InputError(f"{name} must be a whole number of at least 1: got {value!r}; give a positive count")


def whole_number(name: str, value: object) -> None:
    """Refuse anything but a whole number of zero or more."""
    if not _is_count(value) and (value != 0 or type(value) is not int):
        raise InputError(f"{name} must be a whole number of at least 0: got {shown(value)}; write it like 1")


def checked_number(name: str, value: object, lowest: float, highest: float = LARGEST) -> float:
    """A finite number within bounds, as a float."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not lowest <= value <= highest:  # type: ignore[operator]
        upper = "" if highest == LARGEST else f" and at most {highest:g}"
        raise InputError(
            f"{name} must be a number of at least {lowest:g}{upper}: got {shown(value)}; write it like 0.5"
        )
    return float(value)  # type: ignore[arg-type]


def switch(name: str, value: object) -> None:
    """Refuse anything but True and False."""
    if not isinstance(value, bool):
        raise InputError(f"{name} must be true or false: got {shown(value)}; leave it out for false")


def checked_layers(layers: object) -> list[int]:
    """A copy of a list of rising layer numbers, 1 or more; an empty list means no stage inside the LLM."""
    if not isinstance(layers, (list, tuple)) or not all(_is_count(layer) for layer in layers):
        raise InputError(
            f"layer_list must be a list of whole numbers of at least 1: got {layers!r}; write it like [8,16,24]"
        )
    if any(after <= before for before, after in zip(layers, layers[1:])):
        raise InputError(f"layer_list must rise: got {list(layers)}; name each layer once, in order, like [8,16,24]")
    return list(layers)


def checked_counts(name: str, counts: object) -> list[int]:
    """A copy of a list of whole numbers of at least 1; it may be empty."""
    if not isinstance(counts, (list, tuple)) or not all(map(_is_count, counts)):
        raise InputError(
            f"{name} must be a list of whole numbers of at least 1: got {shown(counts)}; write it like [300,200,110]"
        )
    return list(counts)


def check_encoder_pair(dominant: object, contextual: object, may_be_off: bool = False) -> None:
    """Refuse counts of the encoder's stage that make no sense: no dominant token, or a contextual count below 0.

    Args:
        may_be_off: both may be 0, which leaves the stage out.
    """
    whole_number("contextual", contextual)
    if may_be_off and contextual == 0:
        whole_number("dominant", dominant)
    else:
        positive("dominant", dominant)


def _is_pair(pair: object) -> bool:
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        return False
    dominant, contextual = pair
    return _is_count(dominant) and (_is_count(contextual) or (type(contextual) is int and contextual == 0))


def checked_pairs(pairs: object) -> list[list[int]]:
    """A copy of a list of [dominant, contextual] pairs whose totals fall; a pair may have no contextual token."""
    well_formed = isinstance(pairs, (list, tuple)) and all(map(_is_pair, pairs))
    if not well_formed:
        raise InputError(
            f"image_token_list must be a list of [dominant, contextual] pairs of at least 1 and 0: got {pairs!r}; "
            f"write it like [[30,5],[22,4],[16,3]]"
        )
    copied = [list(pair) for pair in pairs]  # type: ignore[attr-defined]
    check_falling("image_token_list", [sum(pair) for pair in copied])
    return copied


def checked_ratios(ratios: object) -> list[float]:
    """A copy of a list of falling shares between 0 and 1."""
    numbers = isinstance(ratios, (list, tuple)) and all(
        isinstance(ratio, (int, float)) and not isinstance(ratio, bool) and 0 < ratio < 1 for ratio in ratios
    )
    if not numbers:
        raise InputError(
            f"image_token_ratio_list must be a list of shares above 0 and below 1: got {ratios!r}; "
            f"write it like [0.5,0.25,0.125]"
        )
    copied = [float(ratio) for ratio in ratios]  # type: ignore[attr-defined]
    check_falling("image_token_ratio_list", copied)
    return copied


def check_falling(name: str, counts: list) -> None:
    """Refuse a stage that keeps as many tokens as it gets, or more, or none."""
    for before, after in zip(counts, counts[1:]):
        if after >= before:
            raise InputError(
                f"{name} must keep fewer tokens at each stage: got {after} after {before}; lower the later count"
            )
    if counts and counts[-1] <= 0:
        raise InputError(f"{name} must leave at least one token at each stage: got {counts[-1]}; raise it")


def check_encoder_counts(dominant: int, contextual: int, geometry: Geometry) -> None:
    """Refuse more tokens than the encoder has."""
    patches = dominant - int(geometry.has_cls) + contextual
    if patches > geometry.patches:
        counted = " ([CLS] is one of the dominant tokens)" if geometry.has_cls else ""
        raise InputError(
            f"dominant and contextual must not exceed what the encoder has: got {dominant} + {contextual}, expected at "
            f"most {geometry.patches + int(geometry.has_cls)} in all{counted}; lower one of them"
        )


def check_patches(name: str, count: int, geometry: Geometry) -> None:
    """Refuse to keep more patches of a view than it has."""
    if count > geometry.patches:
        raise InputError(
            f"{name} must not exceed what the encoder has: got {count}, expected at most {geometry.patches}; lower it"
        )


def check_image(name: str, count: int, geometry: Geometry) -> None:
    """Refuse to keep more patches of an image than all its views have."""
    most = geometry.patches * geometry.views
    if count > most:
        raise InputError(
            f"{name} must not exceed what an image has: got {shown(count)}, expected at most {most}; lower it"
        )


def check_room(name: str, method: str, geometry: Geometry, layer: int) -> None:
    """Refuse a layer of the vision encoder that it does not have; `layer` is counted from 1."""
    if layer > geometry.encoder_layers:
        raise InputError(
            f"{name} of {method} must be a layer of the vision encoder: got {layer}, expected at most "
            f"{geometry.encoder_layers}; lower it"
        )


def check_cls(method: str, geometry: Geometry) -> None:
    """Refuse an encoder without [CLS], which is no CLIP, for a method that cannot do without."""
    if not geometry.has_cls:
        raise InputError(
            f"{method} needs a vision encoder with a [CLS] token, CLIP's: this one (such as SigLIP) has none; choose "
            f"another method"
        )


def integer(name: str, value: object) -> None:
    """Refuse anything but a whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{name} must be a whole number: got {shown(value)}; write it like 0")


def check_grid(rows: int, cols: int, geometry: Geometry) -> None:
    """Refuse a grid that is finer than a view's patches."""
    if max(rows, cols) > geometry.side:
        raise InputError(
            f"rows and cols must not exceed a view's patches on a side: got {rows} x {cols}, expected at most "
            f"{geometry.side}; lower them"
        )
