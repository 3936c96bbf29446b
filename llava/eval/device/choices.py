"""Which image tokens were kept, by name, so that choices made in two ways can be compared."""

from llava.model.trace import Trace


def choices(trace: Trace, image: int = 0) -> list[list[object]]:
    """What each stage kept as it was, by name: patches by their number, tokens made by a stage by stage and place.

    For one image, of one view, of those that were traced together. The first entry is the encoder's, if it chose; then
    one for each stage inside the LLM.
    """
    first = trace.encoder
    kept: list[list[object]] = []
    names: list[object] = []
    if first is not None:
        kept.append(list(first.kept[image, : first.kept_counts[image]].tolist()))
        merged = range(first.merged.counts[image]) if first.merged is not None else ()
        names = (["cls"] if first.keeps_cls else []) + kept[0] + [("encoder", at) for at in merged]
    for stage in trace.stages:
        chosen = stage.selection
        names = names or list(range(stage.before.spans[image].length))
        kept.append([names[place] for place in chosen.kept[image, : chosen.kept_counts[image]].tolist()])
        merged = range(chosen.merged.counts[image]) if chosen.merged is not None else ()
        names = kept[-1] + [(stage.layer, at) for at in merged]
    return kept


def agreement(exact: list[list[object]], other: list[list[object]]) -> list[float]:
    """For each stage the share of the exact choice that the other has too; all of it where nothing is chosen."""
    pairs = ((set(one), set(two)) for one, two in zip(exact, other, strict=True))
    return [len(one & two) / len(one) if one else 1.0 for one, two in pairs]
