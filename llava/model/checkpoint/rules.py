"""What a value in a checkpoint's JSON may be: one table of rules per file, one place that complains.

A checkpoint comes from anywhere. Its numbers size tensors and loops: they are judged before anything is made of them.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from llava.errors import InputError, shown

# More brackets in one another than any file of a checkpoint has; deeper values cannot be copied by Python.
DEEPEST = 20


class Rule(NamedTuple):
    """What is expected, in words, and whether a value is it."""

    expected: str
    holds: Callable[[Any], bool]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def whole(low: int, high: int) -> Rule:
    """A whole number in a range, both ends included."""
    return Rule(f"a whole number from {low} to {high}", lambda value: _is_whole(value) and low <= value <= high)


def number(low: float, high: float) -> Rule:
    """A whole or broken number in a range, both ends included."""
    return Rule(f"a number from {low:g} to {high:g}", lambda value: _is_number(value) and low <= value <= high)


def positive(high: float) -> Rule:
    """A number above 0."""
    return Rule(f"a number above 0, up to {high:g}", lambda value: _is_number(value) and 0 < value <= high)


def flag() -> Rule:
    """true or false."""
    return Rule("true or false", lambda value: isinstance(value, bool))


def text(longest: int = 4096) -> Rule:
    """A text; file names go to the system, which takes no NUL."""
    return Rule(
        f"a text of at most {longest} characters",
        lambda value: isinstance(value, str) and len(value) <= longest and "\0" not in value,
    )


def one_of(*choices: Any) -> Rule:
    """One of these, of the same type: true is not 1."""
    return Rule(
        "one of " + ", ".join(map(str, choices)),
        lambda value: any(type(value) is type(choice) and value == choice for choice in choices),
    )


def either(*rules: Rule) -> Rule:
    """What one of several rules takes."""
    return Rule(" or ".join(rule.expected for rule in rules), lambda value: any(rule.holds(value) for rule in rules))


def nullable(rule: Rule) -> Rule:
    """null, or what the rule takes."""
    return Rule(f"{rule.expected}, or null", lambda value: value is None or rule.holds(value))


def list_of(rule: Rule, shortest: int = 0, longest: int = 10_000) -> Rule:
    """A list of such values."""
    size = f"{shortest}" if shortest == longest else f"{shortest} to {longest}"
    return Rule(
        f"a list of {size} values, each {rule.expected}",
        lambda value: isinstance(value, list) and shortest <= len(value) <= longest and all(map(rule.holds, value)),
    )


def mapping_of(rules: Mapping[str, Rule]) -> Rule:
    """An object that has these keys, if any, with such values."""
    return Rule(
        "an object with " + ", ".join(f"{key} ({rule.expected})" for key, rule in rules.items()),
        lambda value: (
            isinstance(value, dict) and all(key in rules and rules[key].holds(own) for key, own in value.items())
        ),
    )


def table_of(rule: Rule) -> Rule:
    """An object with such values under any keys."""
    return Rule(
        f"an object whose values are each {rule.expected}",
        lambda value: isinstance(value, dict) and all(map(rule.holds, value.values())),
    )


def pattern() -> Rule:
    """A text that is a regular expression."""
    return Rule("a regular expression", lambda value: isinstance(value, str) and _compiles(value))


def _compiles(value: str) -> bool:
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def check(values: Mapping[str, Any], rules: Mapping[str, Rule], what: str, where: str) -> None:
    """Judge what a file says.

    Args:
        what: names the kind of file in the complaint, as in "a checkpoint's config.json".
        where: the file.

    Raises:
        InputError: at the first value that its rule does not take, or that is nested without end.
    """
    for key, value in values.items():
        if key in rules and not rules[key].holds(value):
            raise InputError(
                f"{what} must fit: {shown(where, 300)} has {shown(key)} {shown(value)}, expected "
                f"{rules[key].expected}; fetch the file again"
            )
        if _deeper_than(value, DEEPEST):
            raise InputError(
                f"{what} must fit: {shown(where, 300)} nests {shown(key)} more than {DEEPEST} levels deep; fetch the "
                f"file again"
            )


def _deeper_than(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return bool(inner) and (levels == 0 or any(_deeper_than(part, levels - 1) for part in inner))
