"""VisionDrop with one part changed at a time, every variant at the same average of image tokens per LLM layer."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from llava.errors import InputError
from llava.eval.curves.runs import Run, Unreached
from llava.reduction import Geometry
from llava.reduction.methods.visiondrop import VisionDrop
from llava.reduction.ranking import TEXT
from llava.reduction.schedule import average_tokens

Variant = Callable[[], VisionDrop]
# Shares of a stage's tokens that are contextual; the paper's are from 1/8 to 3/19.
SHARES = (Fraction(0), Fraction(1, 16), Fraction(1, 8), Fraction(1, 4), Fraction(1, 2))
QUARTERS = {"1/4": (1,), "1/2": (2,), "1/4 1/2": (1, 2), "1/4 1/2 3/4": (1, 2, 3)}


def variants_of(part: str, retain: int, geometry: Geometry) -> dict[str, Variant]:
    """What is compared when a part of VisionDrop is looked at; making one may be refused.

    Args:
        part: one of `PARTS`.
        retain: average image tokens per LLM layer.
    """

    def whole() -> VisionDrop:
        return VisionDrop.from_budget(retain, geometry)

    return {"visiondrop": whole} | PARTS[part](retain, geometry)


def _stages(retain: int, geometry: Geometry) -> dict[str, Variant]:
    return {
        "encoder only": lambda: with_layers(VisionDrop.from_budget(retain, geometry), [], retain, geometry),
        "LLM only": lambda: llm_only(retain, geometry),
    }


def _contextual(retain: int, geometry: Geometry) -> dict[str, Variant]:
    return {"no contextual tokens": lambda: shared_out(VisionDrop.from_budget(retain, geometry), Fraction(0))}


def _share(retain: int, geometry: Geometry) -> dict[str, Variant]:
    return {
        f"contextual {share}": lambda share=share: shared_out(VisionDrop.from_budget(retain, geometry), share)  # type: ignore[misc]
        for share in SHARES
    }


def _layers(retain: int, geometry: Geometry) -> dict[str, Variant]:
    def at(quarters: tuple[int, ...]) -> VisionDrop:
        listed = [round(geometry.layers * quarter / 4) for quarter in quarters]
        return with_layers(VisionDrop.from_budget(retain, geometry), listed, retain, geometry)

    return {f"after {name}": lambda quarters=quarters: at(quarters) for name, quarters in QUARTERS.items()}  # type: ignore[misc]


def _ranking(retain: int, geometry: Geometry) -> dict[str, Variant]:
    return {"ranked by text": lambda: replace(VisionDrop.from_budget(retain, geometry), ranking=TEXT)}


PARTS: dict[str, Callable[[int, Geometry], dict[str, Variant]]] = {
    "stages": _stages,
    "contextual": _contextual,
    "share": _share,
    "layers": _layers,
    "ranking": _ranking,
}


def pair(tokens: int, share: Fraction) -> list[int]:
    """`tokens` as [dominant, contextual]; one is dominant at least, and none contextual only where the share is 0."""
    contextual = min(tokens - 1, max(1, round(tokens * share))) if share else 0
    return [tokens - contextual, contextual]


def shared_out(method: VisionDrop, share: Fraction) -> VisionDrop:
    """The same totals with another share of contextual tokens at every stage."""
    dominant, contextual = pair(method.dominant + method.contextual, share)
    pairs = [pair(sum(counts), share) for counts in method.image_token_list]
    return replace(method, dominant=dominant, contextual=contextual, image_token_list=pairs)


def with_layers(method: VisionDrop, layers: list[int], retain: int, geometry: Geometry) -> VisionDrop:
    """The method with stages after other layers, counts falling in equal proportion to hold the average.

    The encoder keeps 1.5 x the budget as always, or the budget itself where no layer is listed. Each stage keeps the
    same share of the one before; contextual tokens are an eighth.

    Raises:
        InputError: where that does not come within 2 % of the budget.
    """
    share = Fraction(1, 8)
    first = method.dominant + method.contextual if layers else max(1, retain // geometry.views)
    dominant, contextual = pair(first, share)

    def at(step: int) -> VisionDrop:
        """Every stage keeps `step` thousandths of the one before, and fewer by one at least."""
        counts = [first * geometry.views]
        for _ in layers:
            counts.append(max(1, min(counts[-1] - 1, round(counts[-1] * step / 1000))))
        pairs = [pair(count, share) for count in counts[1:]]
        return replace(method, dominant=dominant, contextual=contextual, layer_list=layers, image_token_list=pairs)

    return nearest(at, retain, geometry)


def llm_only(retain: int, geometry: Geometry) -> VisionDrop:
    """All patches enter the LLM, and stages at equal steps hold the average, as in PyramidDrop's `--retain`.

    Raises:
        InputError: where that does not come within 2 % of the budget.
    """
    share, whole = Fraction(1, 8), geometry.most_tokens
    step = max(1, min(geometry.layers // 4, int(0.6 * retain / whole * geometry.layers)))

    def at(part: int) -> VisionDrop:
        counts = [max(3 - stage, round(whole * (part / 1000) ** (1 + stage))) for stage in range(3)]
        counts = [min(count, whole - 1 - stage) for stage, count in enumerate(counts)]
        return VisionDrop(0, 0, [step, 2 * step, 3 * step], [pair(count, share) for count in counts])

    return nearest(at, retain, geometry)


def nearest(at: Callable[[int], VisionDrop], retain: int, geometry: Geometry) -> VisionDrop:
    """Of the schedules at 1, 2, ... 999 thousandths that are ones, that nearest to a budget; InputError if 2 % off."""
    found: list[tuple[float, VisionDrop]] = []
    for part in range(1, 1000):
        try:
            method = at(part)
            method.check(geometry)
        except InputError:
            continue
        found.append((abs(average_tokens(method, geometry) - retain), method))
    distance, best = min(found, key=lambda one: one[0], default=(float(retain), None))
    if best is None or distance > 0.02 * retain:
        least = f"the nearest is {average_tokens(best, geometry):.1f}" if best is not None else "there is none"
        raise InputError(f"a variant must come to the budget of the others: got {retain}, {least}; choose another")
    return best


def plan_variants(part: str, retain: int, geometry: Geometry) -> tuple[list[Run], list[Unreached]]:
    """A run for every variant, and those that cannot come to the budget."""
    runs, unreached = [], []
    for name, make in variants_of(part, retain, geometry).items():
        try:
            method = make()
            method.check(geometry)
        except InputError as error:
            unreached.append(Unreached(name, retain, str(error)))
            continue
        runs.append(Run(name, retain, method, average_tokens(method, geometry)))
    return runs, unreached
