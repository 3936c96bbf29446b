"""Settings as they were published, for `llava.hf.reduce(model, **llava.hf.PRESETS["visionzip 70%"])`.

`reduce(model, "visionzip", preset="visionzip 70%")` and `{"method": "visionzip", "preset": "visionzip 70%"}` are the
same for models whose pictures differ in size. The others are LLaVAs, and have its presets (`llava.reduction.paper`).
"""

from typing import Any

from llava.errors import InputError, shown
from llava.reduction.resolve import check_beside

BUDGETS = (("33.3", 0.333), ("22.2", 0.222), ("11.1", 0.111), ("20", 0.2), ("10", 0.1), ("5", 0.05))
# VisionZip's own for Qwen2.5-VL and HiPrune's for Qwen2.5-VL-3B; VScan's 11.1 % is 0.167 of the tokens in the first
# half of the LLM and a third of those in the second, as `retain` shares them out. Then the budgets that VisionDrop's
# paper and those after it report, of 576 tokens and of pictures of any size.
PRESETS: dict[str, dict[str, Any]] = {
    "visionzip 70%": {"method": "visionzip", "dominant": 0.65, "contextual": 0.05},
    "visionzip 50%": {"method": "visionzip", "dominant": 0.45, "contextual": 0.05},
    "hiprune 33.3%": {"method": "hiprune", "retention": 0.334},
    "hiprune 22.2%": {"method": "hiprune", "retention": 0.223},
    "hiprune 11.1%": {"method": "hiprune", "retention": 0.112},
    **{
        f"{method} {percent}%": {"method": method, "retain": share}
        for method in ("visiondrop", "visionzip", "vispruner", "vscan")
        for percent, share in BUDGETS
    },
}


def method_of(preset: object) -> str | None:
    """The method whose preset it is; None for LLaVA's, which are of every method, and for what is none."""
    return PRESETS[preset]["method"] if isinstance(preset, str) and preset in PRESETS else None


def published(preset: object, method: str, model: str) -> dict[str, Any]:
    """The settings that a preset stands for: `retain`, or the method's own.

    Args:
        method: the name of the method that it is asked of; model: what that is for, as it is to be called.

    Raises:
        InputError: for what is no preset of these models, or that of another method.
    """
    own = method_of(preset)
    if own is None:
        raise InputError(
            f"a preset is one of {', '.join(PRESETS)} for {model}: got {shown(preset)}; or give a share of a picture's "
            f"own tokens, such as --retain 11.1%"
        )
    if own != method:
        raise InputError(f"a preset is one method's: got {preset} with method {shown(method)}, expected {own}; name it")
    return {name: value for name, value in PRESETS[str(preset)].items() if name != "method"}


def without_preset(method: Any, retain: Any, settings: dict[str, Any], model: str) -> tuple[Any, Any, dict[str, Any]]:
    """Arguments of `reduce` for pictures of any size with the settings in place of a preset; others as they are.

    Raises:
        InputError: as `published`; for a budget or settings beside the preset, which makes the whole schedule.
    """
    mapping = isinstance(method, dict)
    named = {**method} if mapping else {"method": method, **settings}
    name = named.pop("method", None)
    if "preset" not in named or not isinstance(name, str) or (mapping and (settings or retain is not None)):
        return method, retain, settings  # what makes no sense is refused where all such is
    made = published(named.pop("preset"), name, model)
    beside = named if retain is None else {**named, "retain": retain}
    check_beside("preset", name, beside)
    return name, None, made | beside
