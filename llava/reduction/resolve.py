"""A method however it is named: as an object, by its name, or by a name with a budget or with settings."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from llava.errors import InputError, shown
from llava.reduction.base import Geometry, Reduction, name_of
from llava.reduction.checks import positive
from llava.reduction.registry import create, method_class, needed_settings
from llava.reduction.schedule import average_tokens

# What stands for a method wherever one is taken; see `resolve`.
Method = Reduction | str | Mapping[str, Any] | None
OFF = 0.02  # of a budget, by which a schedule may miss it
BESIDE = {"shared", "beside_budget"}  # marks of settings that no schedule sets


def resolve(method: Method, geometry: Geometry) -> Reduction:
    """The method for a model, checked against its geometry.

    Args:
        method: a `Reduction`; None or "none": every token is kept; a name such as "pyramiddrop": the method's defaults,
            or its usual budget ("visiondrop" 32, "visionzip" 64); {"method": NAME, "retain": N}: the method's own
            schedule for an average of N image tokens per LLM layer; {"method": NAME, "preset": "paper-64"}: the
            settings published for that budget; {"method": NAME, SETTING: VALUE, ...}: its settings, as `create` takes
            them.

    Raises:
        InputError: for an unknown name or setting, a method that needs a budget and gets none, or settings that do not
            fit the model.
    """
    if method is None or isinstance(method, Reduction):
        made = method_class("none")() if method is None else method
    elif isinstance(method, str):
        made = _by_name(method, geometry)
    elif isinstance(method, Mapping):
        made = _by_settings(dict(method), geometry)
    else:
        raise InputError(
            f"a reduction method must be a Reduction, a name or a mapping: got {shown(method)}, expected something "
            f'like "visiondrop" or {{"method": "visiondrop", "retain": 32}}'
        )
    made.check(geometry)
    return made


def _by_name(name: str, geometry: Geometry) -> Reduction:
    kind = method_class(name)
    if kind.usual_budget is not None:
        return kind.from_budget(kind.usual_budget, geometry)
    needed = needed_settings(kind)
    if needed:
        raise InputError(
            f"method '{name}' needs a budget: got its name alone; write "
            f'{{"method": "{name}", "retain": 32}}, or its settings: {", ".join(needed)}'
        )
    return kind()


def _by_settings(settings: dict[str, Any], geometry: Geometry) -> Reduction:
    name = settings.pop("method", None)
    if not isinstance(name, str) or not all(isinstance(setting, str) for setting in settings):
        raise InputError(
            f'a mapping for a reduction method must hold its name as "method" and settings by name: got '
            f"{shown({'method': name} | settings)}; write it like "
            f'{{"method": "visiondrop", "retain": 32}}'
        )
    if not settings:
        return _by_name(name, geometry)
    kind, whole = method_class(name), [key for key in ("retain", "preset") if key in settings]
    if not whole:
        return create(name, **settings)
    key, value = whole[0], settings.pop(whole[0])
    if key == "retain":
        positive("retain", value)
    check_beside(key, name, settings)
    if key == "preset":
        return dataclasses.replace(kind.from_preset(value, geometry), **settings)
    return at_budget(kind.from_budget(value, geometry), value, settings, geometry)


def check_beside(key: str, method: str, settings: Collection[str]) -> None:
    """Refuse what is said beside a budget or a preset, except what no schedule sets, such as a seed.

    Args:
        key: `retain` or `preset`, which makes the whole schedule.
        method: its name; settings: names of what stands beside it.

    Raises:
        InputError: for an unknown method, or a setting that the schedule makes.
    """
    beside = {field.name for field in dataclasses.fields(method_class(method)) if BESIDE & {*field.metadata}}
    foreign = sorted(str(setting) for setting in settings if setting not in beside)
    if foreign:
        raise InputError(
            f"{key} makes the whole schedule of method '{method}': got it with {shown(foreign[0])}; give one or the "
            f"other"
        )


def at_budget(made: Reduction, retain: int, settings: Mapping[str, Any], geometry: Geometry) -> Reduction:
    """A method at a budget with settings that are said beside it.

    Raises:
        InputError: where these change what is computed to more than 2 % off the budget, as DART's released counts do.
    """
    changed = dataclasses.replace(made, **settings)
    before, after = average_tokens(made, geometry), average_tokens(changed, geometry)
    if before != after and abs(after - retain) > max(OFF * retain, abs(before - retain)):
        raise InputError(
            f"what is said beside a budget must leave it as it is: {', '.join(settings)} of method '{name_of(made)}' "
            f"makes {after:.1f} image tokens per LLM layer of {retain}; take a preset, give the settings, or leave it "
            f"out"
        )
    return changed
