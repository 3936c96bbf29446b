"""Command-line options of the reduction methods: a flag for every setting, read into a choice that fits a model."""

import argparse
import dataclasses
from dataclasses import dataclass
from typing import Any

from llava.errors import InputError
from llava.eval.runs.budget import budget, in_tokens
from llava.eval.runs.command import Parser, at_least
from llava.eval.runs.presets import add_preset
from llava.eval.runs.published import SWITCHES, named_method, without_whole
from llava.reduction import Geometry, Reduction, available, create, method_class
from llava.reduction.resolve import at_budget
from llava.reduction.schedule import flag_of, parse_setting


def add_method_options(parser: Parser) -> None:
    """One flag for every field of every method, plus the choice of method and of a budget.

    Not for a field that is marked as shared (`seed`): a command has its own flag of that name, which counts for both.
    A field whose name means something else on a command line says what its flag is called (`flag`).
    """
    group = parser.add_argument_group("reduction of image tokens")
    group.add_argument("--method", choices=available(), help="unset: the one whose flags are given, or none")
    for flag, name in SWITCHES.items():
        group.add_argument(f"--{flag}", action="store_true", help=f"--method {name}, as its published scripts say it")
    average = "average image tokens per LLM layer, or 11.1%% of a picture's own; the method's schedule, scaled"
    group.add_argument("--retain", type=budget, metavar="N", help=average)
    add_preset(group)
    for name, (owners, setting) in sorted(_settings().items()):
        if setting.metadata.get("shared"):
            continue
        kind, words = at_least() if setting.type is int else str, setting.metadata.get("choices")
        group.add_argument(f"--{name}", type=kind, choices=words, help=_help_of(name, owners))


def _help_of(name: str, owners: list[str]) -> str:
    """What a flag means, to each method that means something else by it."""
    meant: dict[str, list[str]] = {}
    for owner in owners:
        fields = method_class(owner).__dataclass_fields__.values()
        meant.setdefault(next(one.metadata["help"] for one in fields if flag_of(one) == name), []).append(owner)
    return "; ".join(f"{text} ({', '.join(those)})" for text, those in meant.items())


def _settings() -> dict[str, tuple[list[str], dataclasses.Field]]:
    """Every setting's flag with the methods that have it."""
    found: dict[str, tuple[list[str], dataclasses.Field]] = {}
    for method in available():
        for setting in dataclasses.fields(method_class(method)):
            owners, _ = found.setdefault(flag_of(setting), ([], setting))
            owners.append(method)
    return found


@dataclass(frozen=True)
class MethodChoice:
    """A method as a command line names it: complete, or a budget or preset that the model turns into settings."""

    name: str
    method: Reduction | None
    retain: int | float | None
    shared: dict[str, Any] = dataclasses.field(default_factory=dict)
    preset: str | None = None

    def build(self, geometry: Geometry) -> Reduction:
        """The method for a model; refuses what does not fit."""
        method = self.method
        if method is None:
            kind = method_class(self.name)
            if self.preset is not None:
                method = dataclasses.replace(kind.from_preset(self.preset, geometry), **self.shared)
            else:
                assert self.retain is not None
                tokens = in_tokens(self.retain, geometry)
                method = at_budget(kind.from_budget(tokens, geometry), tokens, self.shared, geometry)
        method.check(geometry)
        return method


def method_from(args: argparse.Namespace) -> MethodChoice:
    """Read the method's flags; everything that needs no model is checked here.

    Raises:
        InputError: for lists that are none, counts that make no sense, flags of another method, a budget beside flags.
    """
    given: dict[str, Any] = {}
    for name, (_, setting) in _settings().items():
        value = None if setting.metadata.get("shared") else getattr(args, name)
        if value is not None:
            given[name] = parse_setting(name, setting.type, value) if isinstance(value, str) else value
    name = named_method(args, given)
    _refuse_foreign(name, list(given))
    if name == "pyramiddrop":
        given = without_whole(given)
    flags = {flag_of(field): field for field in dataclasses.fields(method_class(name))}
    shared = {
        field.name: getattr(args, field.name)
        for field in dataclasses.fields(method_class(name))
        if field.metadata.get("shared") and hasattr(args, field.name)
    }
    whole = [flag for flag in ("retain", "preset") if getattr(args, flag) is not None]
    if not whole:
        return MethodChoice(name, create(name, **{flags[flag].name: given[flag] for flag in given}, **shared), None)
    if len(whole) > 1:
        raise InputError(f"a run has one schedule: got --retain {args.retain} and --preset {args.preset}; drop one")
    beside = [flag for flag in given if flags[flag].metadata.get("beside_budget")]
    shared |= {flags[flag].name: given.pop(flag) for flag in beside}
    if given:
        raise InputError(
            f"--{whole[0]} makes the whole schedule: got it with --{next(iter(given))}; give one or the other"
        )
    if isinstance(args.retain, int) and args.retain < 1:
        raise InputError(f"--retain must be at least 1 image token per layer: got {args.retain}")
    return MethodChoice(name, None, args.retain, shared, args.preset)


def _refuse_foreign(method: str, given: list[str]) -> None:
    """Refuse settings of other methods, naming beside the first what stands for this method."""
    owners = {flag: _settings()[flag][0] for flag in given}
    foreign = next((flag for flag in given if method not in owners[flag]), None)
    if foreign is None:
        return
    own = next((flag for flag in given if method in owners[flag] and not {*owners[flag]} & {*owners[foreign]}), None)
    beside = f" (--{own})" if own is not None else ""
    raise InputError(
        f"--{foreign} belongs to {' or '.join(owners[foreign])}: got it with method {method}{beside}; leave one "
        f"out, or add --method"
    )
