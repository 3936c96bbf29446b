"""Schedules as text and as cost: command-line strings to lists, budgets to methods, tokens per stage to FLOPs."""

import dataclasses
import json
import shlex
from fractions import Fraction
from typing import Any, get_args

from llava.errors import InputError, shown
from llava.reduction.base import Geometry, Reduction
from llava.reduction.positions import written_settings

AT_MOST = "at most "


def average_said(method: Reduction, geometry: Geometry) -> str:
    """The average for a person; where the picture says how many tokens stay, that it is the most there can be."""
    return f"{AT_MOST if method.varies else ''}{average_tokens(method, geometry):.1f}"


def parse_list(name: str, text: str) -> list:
    """A list written on a command line, such as `[8,16,24]`, as a Python list.

    Raises:
        InputError: when the text is not a list in JSON's notation (no code is ever evaluated).
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # also numbers of thousands of digits, and brackets without end
        value = None
    if not isinstance(value, list):
        raise InputError(f"{name} must be a list in square brackets: got '{text}'; write it like [8,16,24], in quotes")
    return value


def parse_setting(name: str, kind: Any, text: str) -> Any:
    """A setting written on a command line, as its field's type wants it: a number, true or false, a word, or a list.

    Raises:
        InputError: when the text is nothing of that kind; whether the value makes sense is for the method to say.
    """
    if type(None) in get_args(kind):  # leaving the flag out is what leaves the setting unset
        kind = next(one for one in get_args(kind) if one is not type(None))
    if kind is str:
        return text
    if kind not in (int, float, bool):
        return parse_list(name, text)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if type(value) is kind or (kind is float and type(value) is int):
        return value
    rule = {int: "a whole number: got {}; write it like 32", float: "a number: got {}; write it like 0.5"}
    raise InputError(f"{name} must be {rule.get(kind, 'true or false: got {}').format(shown(text))}")


def per_view(retain: int, geometry: Geometry, name: str = "the method", least: int = 1) -> int:
    """A budget of `retain` tokens per image, shared out evenly among its views (a video's frames).

    Exact for numbers of any size: what is too much is for the method to refuse.

    Args:
        name: the method's, for the complaint; least: tokens of a view that it cannot do without.

    Raises:
        InputError: where the budget is less than that of all views.
    """
    if retain < least * geometry.views:
        views = f" for each of {geometry.views} {'frames' if geometry.frames else 'views'}"
        raise InputError(
            f"--retain of {name} must be at least {least}{views if geometry.views > 1 else ''}: got {retain}, expected "
            f"at least {least * geometry.views}; raise it"
        )
    return round(Fraction(retain, geometry.views))


def per_view_beside_one(name: str, retain: int, geometry: Geometry) -> float:
    """The share of a view's patches that is its part of a budget less one token, which stands for the others.

    Raises:
        InputError: when that is no patch at all, or more than there are.
    """
    kept = round(Fraction(retain, geometry.views)) - 1
    if not 1 <= kept <= geometry.patches:
        raise InputError(
            f"--retain of {name} must leave a patch of each view beside the token of the others, no more than it has: "
            f"got {shown(retain)}, expected {2 * geometry.views} to {(geometry.patches + 1) * geometry.views}; "
            f"change it"
        )
    # In the middle between two counts, so that rounding does not matter.
    return min(1.0, (kept + 0.5) / geometry.patches)


def per_view_beside_newlines(retain: int, geometry: Geometry, name: str, least: int = 1) -> int:
    """The same where a LLaVA-NeXT image's newline tokens stay and count.

    Raises:
        InputError: when the newlines of the largest image leave no token for each view.
    """
    if geometry.newlines and retain < geometry.newlines + geometry.views:
        raise InputError(
            f"--retain of {name} must leave a token of each view: got {retain}, expected at least "
            f"{geometry.newlines + geometry.views}, since the largest picture's {geometry.newlines} newline tokens "
            f"always stay; raise it"
        )
    return per_view(retain - geometry.newlines, geometry, name, least)


def layers_per_stage(method: Reduction, layers: int) -> list[int]:
    """How many LLM layers run with each entry of `tokens_per_stage`."""
    edges = [0, *method.layers, layers]
    return [after - before for before, after in zip(edges, edges[1:])]


def average_tokens(method: Reduction, geometry: Geometry) -> float:
    """Image tokens per LLM layer, averaged over the layers: the budget as papers count it."""
    runs = layers_per_stage(method, geometry.layers)
    return sum(run * tokens for run, tokens in zip(runs, method.tokens_per_stage(geometry))) / geometry.layers


@dataclasses.dataclass(frozen=True)
class DecoderShape:
    """The sizes of a LLaMA-like decoder that its FLOPs depend on."""

    layers: int
    hidden: int
    intermediate: int
    key_value_width: int
    mlp_matrices: int = 3

    @classmethod
    def of(cls, config: Any) -> "DecoderShape":
        """From a transformers configuration, or any object with the same attribute names."""
        heads, hidden = config.num_attention_heads, config.hidden_size
        groups = getattr(config, "num_key_value_heads", None) or heads
        head_dim = getattr(config, "head_dim", None) or hidden // heads
        matrices = getattr(config, "mlp_matrices", 3)
        return cls(config.num_hidden_layers, hidden, config.intermediate_size, groups * head_dim, matrices)

    def layer_flops(self, tokens: int, cached: int = 0) -> int:
        """Floating point operations of one layer over `tokens` new tokens that also see `cached` older ones.

        A multiply-add counts as two. Projections q, o (h x h), k, v (h x kv), three MLP matrices (h x m; MPT has two);
        attention counts every query-key pair, as papers do (a causal kernel does about half of those).
        """
        projections = 2 * tokens * (2 * self.hidden**2 + 2 * self.hidden * self.key_value_width)
        mlp = 2 * tokens * self.mlp_matrices * self.hidden * self.intermediate
        return projections + mlp + 4 * tokens * (tokens + cached) * self.hidden


def prefill_flops(shape: DecoderShape, method: Reduction, geometry: Geometry, text_tokens: int) -> int:
    """FLOPs of the LLM's layers over one prompt of `text_tokens` and one image; head and encoder are not in it."""
    runs = layers_per_stage(method, geometry.layers)
    stages = zip(runs, method.tokens_per_stage(geometry))
    return sum(run * shape.layer_flops(tokens + text_tokens) for run, tokens in stages)


def describe(method: Reduction, geometry: Geometry) -> str:
    """The schedule in one line of the flags' own notation."""
    most = AT_MOST if method.varies else ""
    flags = {field.name: flag_of(field) for field in dataclasses.fields(method)}
    written = " ".join(f"--{flags[name]} {_as_flag(value)}" for name, value in written_settings(method).items())
    stages = ", ".join(
        f"{most}{tokens} in {run} layers"
        for run, tokens in zip(layers_per_stage(method, geometry.layers), method.tokens_per_stage(geometry))
    )
    return f"{written}{': ' if written else ''}{stages}"


def flag_of(setting: dataclasses.Field) -> str:
    """What a setting's flag is called: as the setting, but where that word means something else on a command line."""
    return setting.metadata.get("flag", setting.name)


def _as_flag(value: Any) -> str:
    """A setting as it is typed: a word as it is, anything else in JSON's notation without blanks."""
    return shlex.quote(value) if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
