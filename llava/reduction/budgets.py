"""From an average number of image tokens per LLM layer to the counts of a schedule, or why there is none."""

from collections.abc import Callable

from llava.errors import InputError
from llava.reduction.base import Geometry


def scaled_layers(layers: tuple[int, ...], geometry: Geometry, depth: int = 32) -> list[int]:
    """Layers of a schedule published for `depth` layers, at the same share of another depth; rising, 1 or more."""
    found: list[int] = []
    for layer in layers:
        found.append(max(round(layer * geometry.layers / depth), found[-1] + 1 if found else 1))
    return found


def too_shallow(name: str, geometry: Geometry) -> InputError:
    """What is said of a model with fewer layers than a schedule has stages."""
    return InputError(
        f"a budget of {name} is spread over the LLM's layers: got a model of {geometry.layers}, which has too few for "
        f"its stages; choose a method of the encoder such as visionzip, or give the settings"
    )


def impossible(name: str, retain: int, least: float, most: float) -> InputError:
    """What is said of a budget that a schedule cannot come to.

    Args:
        least: the average that its layers before the first drop and one token after it come to.
        most: what it comes to where it drops as little as it can.
    """
    return InputError(
        f"--retain of {name} must lie between what its first layers cost, which see every token, and all tokens: got "
        f"{retain}, expected at least {least:.1f} and at most {most:.1f}; choose another budget or give "
        f"the settings"
    )


def kept_after(name: str, retain: int, geometry: Geometry, layer: int) -> int:
    """What must be left after so many layers of all tokens for an average of `retain` over all layers.

    Raises:
        InputError: where that is less than one token, or all of them, or no layer is left.
    """
    layers, whole = geometry.layers, geometry.most_tokens
    left = layers - layer
    if left < 1:
        raise too_shallow(name, geometry)
    kept = round((retain * layers - whole * layer) / left)
    if not 1 <= kept < whole:
        raise impossible(name, retain, (whole * layer + left) / layers, whole - left / layers)
    return kept


def solved(retain: float, average: Callable[[int], float], most: int) -> int:
    """The whole number from 1 to `most` for which a rising average is nearest to `retain`."""
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if average(middle) < retain else (low, middle)
    below = max(1, low - 1)
    return low if abs(average(low) - retain) <= abs(average(below) - retain) else below
