"""The settings that papers print their tables with, by the budget a table names them after: `--preset paper-64`.

A budget of a table is not always what computes: "64 tokens" is 64.0 of one method and 99.8 of another. So a preset is
taken as it was published, for LLaVA-1.5's one view of 576 patches and 32 layers, and what it comes to is said of it;
`--retain 64` is the other way round. Where released code misbehaves, a preset says so too (`published`): the tables
were made with that. PruneSID alone is seeded, since no run of it could be repeated otherwise.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from llava.errors import InputError, shown

if TYPE_CHECKING:
    from llava.reduction.base import Geometry

BUDGETS = (192, 128, 64, 32)
PRESETS = tuple(f"paper-{budget}" for budget in BUDGETS)
PATCHES = 576  # of the picture that the settings were published for

PaperSettings = Mapping[int, Mapping[str, Any]]


def counted(name: str, least: int = BUDGETS[-1], **others: Any) -> PaperSettings:
    """Settings of a method whose one count is the budget itself; `others` go with every budget.

    Args:
        least: the smallest budget that there are settings for.
    """
    return _each(lambda budget: {name: budget} | others, least)


def shared_out(name: str, beside: int = 0, least: int = BUDGETS[-1], **others: Any) -> PaperSettings:
    """The same where the setting is a share of the patches, which are rounded down, `beside` so many other tokens."""
    between_counts = 0.5 if beside else 0  # so that rounding does not matter
    return _each(lambda budget: {name: (budget - beside + between_counts) / PATCHES} | others, least)


def _each(settings: Callable[[int], dict[str, Any]], least: int) -> PaperSettings:
    return {budget: settings(budget) for budget in BUDGETS if budget >= least}


def settings_of(method: str, known: PaperSettings, preset: object, geometry: "Geometry") -> dict[str, Any]:
    """The settings that a preset stands for.

    Args:
        method: its name; known: its published settings.

    Raises:
        InputError: for a word that is no preset, a budget that the method was not published at, or a picture or video
            of several views, which those settings are not for.
    """
    if preset not in PRESETS:
        raise InputError(
            f"a preset is one of {', '.join(PRESETS)} for a LLaVA: got {shown(preset)}; or give a budget (--retain)"
        )
    budget = BUDGETS[PRESETS.index(str(preset))]
    if budget not in known:
        names = ", ".join(f"paper-{other}" for other in known)
        found = f"expected one of {names}; or give" if known else "which has none at all; give"
        raise InputError(
            f"a preset needs settings that were published: got {preset} of the method '{method}', {found} a budget "
            f"(--retain) or the settings"
        )
    if geometry.frames or geometry.views > 1:
        what = (
            f"a video of {geometry.frames} frames" if geometry.frames else f"pictures of up to {geometry.views} views"
        )
        raise InputError(
            f"a preset is for LLaVA-1.5, whose picture is one view: got {preset} of '{method}' for {what}; give a "
            f"budget (--retain)"
        )
    return dict(known[budget])
