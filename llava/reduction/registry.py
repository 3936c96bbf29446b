"""The methods there are: a method is found by the name of its file in `methods/`."""

import dataclasses
import functools
import importlib
import inspect
import pkgutil
from typing import Any

from llava.errors import InputError, shown
from llava.reduction import methods
from llava.reduction.base import Reduction
from llava.reduction.positions import check_choices


@functools.cache
def _methods() -> dict[str, type[Reduction]]:
    found: dict[str, type[Reduction]] = {}
    for info in pkgutil.iter_modules(methods.__path__):
        module = importlib.import_module(f"{methods.__name__}.{info.name}")
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ == module.__name__ and issubclass(kind, Reduction) and kind is not Reduction:
                assert info.name not in found, f"{module.__name__} holds two methods; a method is one file"
                found[info.name] = kind
    return found


def available() -> list[str]:
    """Names of the methods there are, sorted."""
    return sorted(_methods())


def method_class(name: str) -> type[Reduction]:
    """The dataclass of a method.

    Raises:
        InputError: for an unknown name; the message lists the known ones.
    """
    if name not in _methods():
        raise InputError(f"unknown reduction method {shown(name)}: expected one of {', '.join(available())}")
    return _methods()[name]


def needed_settings(kind: type[Reduction]) -> list[str]:
    """The names of a method's settings that have no default."""
    unset = (dataclasses.MISSING, dataclasses.MISSING)
    return [field.name for field in dataclasses.fields(kind) if (field.default, field.default_factory) == unset]


def create(name: str, /, **settings: Any) -> Reduction:
    """Make a method from its settings, checked.

    Args:
        name: one of `available()`.
        settings: the method's fields, named as the command-line flags; lists as Python lists.

    Raises:
        InputError: for an unknown method or setting, a missing setting, or values that make no sense.

    Example: `create("visiondrop", dominant=42, contextual=6, layer_list=[8, 16, 24],
    image_token_list=[[30, 5], [22, 4], [16, 3]])`.
    """
    kind = method_class(name)
    known = [field.name for field in dataclasses.fields(kind)]
    foreign = [setting for setting in settings if setting not in known]
    if foreign:
        raise InputError(
            f"method '{name}' has no setting '{foreign[0]}': expected "
            f"{'one of ' + ', '.join(known) if known else 'none'}; leave it out or choose another method"
        )
    missing = [setting for setting in needed_settings(kind) if setting not in settings]
    if missing:
        raise InputError(f"method '{name}' needs {', '.join(missing)}; give {'it' if len(missing) == 1 else 'them'}")
    made = kind(**settings)
    check_choices(made)
    return made
