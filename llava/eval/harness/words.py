"""The words of `--model_args`: those of the adapter, and those of the method, which lmms-eval has turned into values.

lmms-eval makes `true` and `false` booleans, digits a whole number, anything else that `float` takes a fraction, and
leaves the rest as text: a list such as `layer_list=[8,16,24]`, a word, a share such as `retain=11%`.
"""

import dataclasses
import inspect
import json
from dataclasses import dataclass, field
from typing import Any

from llava.errors import InputError, shown
from llava.eval.runs.budget import share_of
from llava.hf.plan import COUNTS, plan_of
from llava.hf.presets import method_of
from llava.reduction import Geometry, Reduction
from llava.reduction.registry import available, method_class
from llava.reduction.schedule import parse_setting

DEFAULT = "visiondrop"
BUDGETS = ("retain", "preset")


@dataclass(frozen=True)
class Choice:
    """A method with a budget or settings, its words checked; whether they fit a model is seen with the model.

    Attributes:
        retain: image tokens per LLM layer on average, or a share of a picture's own below 1.
        settings: of the method, or a preset.
    """

    method: str
    retain: int | float | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def build(self, geometry: Geometry) -> Reduction:
        """The method for a model whose pictures have one size; refuses what does not fit."""
        return plan_of(self.method, self.retain, self.settings, geometry, any_size=False).inside


def read_words(given: dict[str, Any], adapter: type) -> tuple[dict[str, Any], Choice]:
    """The adapter's words, and the method's.

    Args:
        given: what the model's constructor was called with.
        adapter: lmms-eval's class, whose constructor names its own words.

    Raises:
        InputError: for a word of neither, an unknown method, or a value that is none of its setting.
    """
    own = [name for name in inspect.signature(adapter).parameters if name != "kwargs"]
    words = {name: value for name, value in given.items() if name not in own}
    method = words.pop("method", method_of(words.get("preset")) or DEFAULT)
    kind = method_class(method)
    fields = {one.name: one for one in dataclasses.fields(kind)}
    for name in words:
        if name not in fields and name not in BUDGETS:
            raise InputError(_unknown(name, method, [*fields], own))
    budget = _share("retain", words.pop("retain", None))
    settings = {name: value if name in BUDGETS else _setting(fields[name], value) for name, value in words.items()}
    return {name: value for name, value in given.items() if name in own}, Choice(method, budget, settings)


def _unknown(name: str, method: str, settings: list[str], own: list[str]) -> str:
    owners = [other for other in available() if name in method_class(other).__dataclass_fields__]
    belongs = f", which belongs to {' or '.join(owners)}" if owners else ""
    known = ", ".join(["method", *BUDGETS, *settings, *own])
    return f"model_args must be known words: got {shown(name)} with method {method}{belongs}, expected one of {known}"


def _share(name: str, value: Any) -> Any:
    """A number of tokens, or a share of them that is written as a fraction or in per cent; `plan_of` checks it."""
    if not isinstance(value, str) or not value.endswith("%"):
        return value
    share = share_of(value)
    if share is None:
        raise InputError(f"{name} in per cent must be above 0 and at most 100: got {shown(value)}; write it like 11.1%")
    return share


def _setting(setting: dataclasses.Field, value: Any) -> Any:
    """A setting as its field wants it; a number where the field wants a word is the word that was written."""
    if setting.name in COUNTS:
        value = _share(setting.name, value)
        if isinstance(value, float):
            return value  # a share, which is for pictures of any size
    if isinstance(value, str):
        return parse_setting(setting.name, setting.type, value)
    if isinstance(value, float) and value.is_integer() and setting.type is not float:
        value = int(value)  # lmms-eval takes -1 for a fraction
    if isinstance(value, int | float):
        return parse_setting(setting.name, setting.type, json.dumps(value))
    return value
