"""A method for pictures of one size, or of any size: its budget is then a share of each picture's own tokens.

Inside the LLM a schedule is one for all pictures of a call, made for a picture of `REFERENCE` tokens and scaled to each
(`llava.reduction.stages.own_counts`), so that a picture keeps the same beside a larger one as alone.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from llava.errors import InputError, shown
from llava.reduction import Reduction
from llava.reduction.base import Geometry, name_of
from llava.reduction.checks import checked_number, positive
from llava.reduction.methods.hiprune import HiPrune
from llava.reduction.methods.none import Unreduced
from llava.reduction.registry import create, method_class
from llava.reduction.resolve import resolve

REFERENCE = 10_000
# The settings that count tokens before the LLM, which a share of a very small picture rounds to one at least.
COUNTS = ("dominant", "contextual", "visual_token_num", "keep", "retention", "new_image_token_num")


@dataclass(frozen=True)
class Plan:
    """What a reduced model does.

    Attributes:
        inside: the method, which is asked between the LLM's layers.
        before: the method that is asked before the LLM, for pictures of so many tokens in each of so many views.
        largest: tokens that the picture of `inside`'s schedule has on entering; 0: its counts are meant as they are.
        frames: the method for a video of a geometry, where frames are views of one size; None: `inside`.
    """

    inside: Reduction
    before: Callable[[int, int], Reduction]
    largest: int = 0
    frames: Callable[[Geometry], Reduction] | None = None

    def for_frames(self, geometry: Geometry) -> Reduction:
        """The method that is asked before the LLM of the frames of a video."""
        return self.inside if self.frames is None else self.frames(geometry)

    @property
    def reduces(self) -> bool:
        """False where every token is kept, and the given model does it all."""
        return not isinstance(self.inside, Unreduced)

    @property
    def acts_before(self) -> bool:
        """True where tokens are dropped before the LLM."""
        return acts_before(type(self.inside))


def acts_before(kind: type[Reduction]) -> bool:
    """True for a method that chooses, or merges, before the LLM."""
    return kind.at_encoder is not Reduction.at_encoder or kind.at_projector is not Reduction.at_projector


def plan_of(
    method: Any,
    retain: float | int | None,
    settings: dict[str, Any],
    geometry: Geometry,
    any_size: bool,
    view: int | None = None,
) -> Plan:
    """The plan for a model.

    Args:
        method: whatever `llava.reduction.resolve` takes.
        retain: a share below 1 of a picture's own tokens, or a whole number of tokens, per LLM layer on average.
        settings: of the method, instead of a budget.
        geometry: of the model; of pictures of `REFERENCE` tokens where they differ in size.
        any_size: they do.
        view: tokens of each view of a picture, where it may have any number of these.

    Raises:
        InputError: for what is no method or no budget of it, or does not fit the model.
    """
    named = _named(method, retain, settings)
    share = named.pop("retain", None) if isinstance(named, dict) else None
    if share is None and any_size and isinstance(named, dict) and _shares(named):
        return _of_shares(named, geometry)
    if share is None:
        fixed = resolve(named, geometry)
        if view is not None:
            fixed.check(dataclasses.replace(geometry, patches=view))
        return _fixed(fixed, None if any_size else geometry)
    whole = isinstance(share, int) and not isinstance(share, bool)
    if not whole and not (isinstance(share, float) and 0 < share <= 1):
        raise InputError(
            f"retain must be a share of a picture's tokens, above 0 and at most 1.0, or a whole number of tokens: got "
            f"{shown(share)}; write it like 0.111 or 64"
        )
    assert isinstance(named, dict)
    if share == 1.0 and not whole:
        return _fixed(resolve(None, geometry))
    if not any_size:
        tokens = _tokens(share, geometry)
        plan = _fixed(resolve({**named, "retain": tokens}, geometry), geometry)
        return replace(plan, frames=lambda video: resolve({**named, "retain": _tokens(share, video)}, video))
    if whole:
        return _counted(named, share, geometry)
    return _shared(named, share, geometry)


def _tokens(retain: float | int, geometry: Geometry) -> int:
    """A budget in tokens: as it is, or a share of the most there are."""
    return retain if isinstance(retain, int) else max(1, round(retain * geometry.most_tokens))


def _named(method: Any, retain: float | int | None, settings: dict[str, Any]) -> Any:
    """Method, budget and settings in one, as `resolve` takes them."""
    given = {**settings, **({} if retain is None else {"retain": retain})}
    if not given:
        return dict(method) if isinstance(method, dict) else method
    if not isinstance(method, str):
        raise InputError(
            f"retain and settings go with a method's name: got them with {shown(method)}; write the name, or leave "
            f"them out"
        )
    return {"method": method, **given}


def _fixed(method: Reduction, geometry: Geometry | None = None) -> Plan:
    """One method for all pictures, its schedule of the largest there may be of a geometry; None: meant as it is."""
    return Plan(
        method, lambda tokens, views: method, method.tokens_per_stage(geometry)[0] if geometry is not None else 0
    )


def _counted(named: dict[str, Any], retain: int, geometry: Geometry) -> Plan:
    """The same number of tokens of every picture, shared out among its views, or all that it has."""
    positive("retain", retain)
    kind = method_class(named["method"])
    if kind is not Unreduced and not acts_before(kind):
        raise InputError(
            f"{name_of(kind)} drops a share of a picture's tokens, and these differ from picture to picture: got "
            f"retain {retain}; give a share such as 0.111, or its settings"
        )

    inside = resolve({**named, "retain": retain}, geometry)

    def before(tokens: int, views: int) -> Reduction:
        if tokens * views <= retain:
            return Unreduced()
        try:
            return resolve({**named, "retain": retain}, dataclasses.replace(geometry, patches=tokens, views=views))
        except InputError:  # more than the picture has before the LLM: it is kept whole there
            return _with_counts(inside, lambda count: max(1, count // views))

    return Plan(inside, before)


def _shared(named: dict[str, Any], share: float, geometry: Geometry) -> Plan:
    """A share of every picture's own tokens."""
    try:
        inside = resolve({**named, "retain": max(1, round(share * REFERENCE))}, geometry)
    except InputError as error:
        raise InputError(f"{error} ({100 * share:.3g} % is tried on a picture of {REFERENCE} tokens)") from None
    if not acts_before(type(inside)):
        return replace(_fixed(inside), largest=REFERENCE if inside.layers else 0)

    def before(tokens: int, views: int) -> Reduction:
        own = dataclasses.replace(geometry, patches=tokens, views=views)
        try:
            return resolve({**named, "retain": max(1, round(share * tokens * views))}, own)
        except InputError:  # a schedule inside the LLM that so few tokens do not make; its first stage they do
            return _scaled(inside, tokens)

    return Plan(inside, before, inside.tokens_per_stage(geometry)[0] if inside.layers else 0)


def _shares(named: dict[str, Any]) -> dict[str, float]:
    """The counts before the LLM that are given as shares of a picture's tokens."""
    return {name: value for name, value in named.items() if name in COUNTS and isinstance(value, float)}


def _of_shares(named: dict[str, Any], geometry: Geometry) -> Plan:
    """Counts that are shares of a picture's own tokens, one at least, rounded as the methods' code for Qwen does."""
    shares = {name: checked_number(name, share, 0, 1) for name, share in _shares(named).items()}

    def before(tokens: int, views: int = 1) -> Reduction:
        counts = {
            name: max(1, (round if name == "retention" else int)(share * tokens)) for name, share in shares.items()
        }
        own = {**named, **counts}
        made = create(own.pop("method"), **own)
        if isinstance(made, HiPrune) and "retention" in shares:  # which counts its anchors before it rounds
            exact = made.alpha * shares["retention"] * tokens / made.retention
            return replace(made, alpha=min(1.0, exact))
        return made

    inside = before(REFERENCE)
    inside.check(geometry)
    return Plan(inside, before, inside.tokens_per_stage(geometry)[0] if inside.layers else 0)


def _scaled(method: Reduction, tokens: int) -> Reduction:
    """The method with its counts before the LLM for a picture of so many tokens, one of each at least."""
    return _with_counts(method, lambda count: max(1, (2 * count * tokens + REFERENCE) // (2 * REFERENCE)))


def _with_counts(method: Reduction, changed: Callable[[int], int]) -> Reduction:
    """The method with other counts before the LLM."""
    counts = {
        field.name: changed(getattr(method, field.name))
        for field in dataclasses.fields(method)
        if field.name in COUNTS and getattr(method, field.name)
    }
    return dataclasses.replace(method, **counts)


def with_settings(plan: Plan, settings: dict[str, Any]) -> Plan:
    """The plan whose methods have other settings, as far as they have them."""

    def changed(method: Reduction) -> Reduction:
        own = {field.name for field in dataclasses.fields(method)}
        return dataclasses.replace(method, **{name: value for name, value in settings.items() if name in own})

    return replace(plan, inside=changed(plan.inside), before=lambda tokens, views: changed(plan.before(tokens, views)))


def known_method(method: Any) -> type[Reduction] | None:
    """The class of a method however it is named; None where it is none."""
    if isinstance(method, Reduction):
        return type(method)
    name = method.get("method") if isinstance(method, dict) else method
    return method_class(name) if isinstance(name, str) else None
