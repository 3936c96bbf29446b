"""What a method leaves of pictures before the LLM, asked of those alike together, so that none depends on others."""

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

import torch

from llava.hf.mrope import follow_merge
from llava.hf.note import Entering
from llava.model.evidence.projected import PictureEvidence, ViewEvidence
from llava.reduction import Reduction, Selection

Parts = list[torch.Tensor]
"""Of one picture: tokens (k, D), the numbers of those whose positions they take (k,), and what is added later."""


class Asking(Protocol):
    """The pictures of a call, V views of n tokens in each picture of a group."""

    def key(self, number: int) -> Hashable:
        """Equal for pictures that may be asked about together."""

    def evidence(self, numbers: list[int]) -> tuple[Any, int]:
        """That of some pictures, and how many views each has."""


def entering_of(asking: Asking, total: int, method_for: Any, deep: Sequence[Sequence[torch.Tensor]]) -> Entering:
    """What enters the LLM of `total` pictures.

    Args:
        method_for: the method for tokens of a view and views of a picture.
        deep: what is added after the first layers, [layer][picture] (n, D).
    """
    groups: dict[Hashable, list[int]] = {}
    for number in range(total):
        groups.setdefault(asking.key(number), []).append(number)
    found: dict[int, Parts] = {}
    for numbers in groups.values():
        evidence, views = asking.evidence(numbers)
        stacked = [torch.stack([layer[number] for number in numbers]) for layer in deep]
        method = method_for(evidence.values.shape[1], views)
        for number, parts in zip(numbers, left_of(method, evidence, views, stacked)):
            found[number] = parts
    ordered = [found[number] for number in range(total)]
    tokens, sources, *added = (torch.cat(parts) for parts in zip(*ordered))
    return Entering(tokens, tuple(len(parts[0]) for parts in ordered), sources, tuple(added))


def left_of(method: Reduction, evidence: Any, views: int, deep: list[torch.Tensor]) -> list[Parts]:
    """Of each picture what is left.

    Merged tokens stand at their targets, so that tokens follow one another as in the picture, view by view.

    Args:
        evidence: about pictures times views, (I * views, n).
        deep: (I, views * n, D) each.
    """
    values, selection = evidence.values, None
    if method.after_projector in ("patches", "image"):
        lengths = (views * values.shape[1],) * (len(values) // views)
        whole = PictureEvidence(values.flatten(0, 1), lengths, evidence, None)
        values, views = whole.values, 1
        selection = method.at_projector(whole)  # type: ignore[arg-type]
    elif method.after_projector is not None:
        selection = method.at_projector(ViewEvidence(values, evidence))
    else:
        selection = method.at_encoder(evidence)
    length = values.shape[1]
    later = [one.reshape(-1, length, one.shape[-1]) for one in deep]
    if selection is None:
        own = torch.arange(length, device=values.device)
        made = [[values[i], own, *(one[i] for one in later)] for i in range(len(values))]
    else:
        made = _selected(selection, values, later)
    return [_joined(made[first : first + views], length) for first in range(0, len(made), views)]


def _joined(views: list[Parts], length: int) -> Parts:
    """The views of a picture, one after the other."""
    if len(views) == 1:
        return views[0]
    moved = [[tokens, sources + at * length, *more] for at, (tokens, sources, *more) in enumerate(views)]
    return [torch.cat(parts) for parts in zip(*moved)]


def _selected(selection: Selection, values: torch.Tensor, later: list[torch.Tensor]) -> list[Parts]:
    places, states = _laid_out(selection, values)
    moved = [_laid_out(selection, one, again=True)[1] for one in later]
    made = []
    for i, count in enumerate(selection.counts):
        order = places[i].argsort(stable=True)[:count]
        sources = places[i, order].clamp(max=values.shape[1] - 1)  # a vector of zeros has the last token's position
        made.append([states[i, order], sources, *(one[i, order] for one in moved)])
    return made


def _laid_out(selection: Selection, values: torch.Tensor, again: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Sources (I, k + slots), fillings last in order, and what `values` (I, n, D) became there.

    Args:
        again: the values are others than those that were chosen from, and follow them.
    """
    merged = selection.merged
    kept = torch.nn.functional.pad(values, (0, 0, 0, 1)).take_along_dim(selection.kept[..., None], dim=1)
    if selection.values is not None:
        kept = _averaged(values, selection) if again and selection.assignment is not None else selection.values
    if merged is None:
        return selection.kept, kept
    folded = follow_merge(values, merged) if again else merged.values
    return torch.cat([selection.kept, merged.targets], dim=1), torch.cat([kept, folded], dim=1)


def _averaged(values: torch.Tensor, selection: Selection) -> torch.Tensor:
    """(I, n, D) -> (I, k, D), for each token that is kept the mean of those that went into it, itself among them."""
    assert selection.assignment is not None
    slots = selection.kept.shape[1]
    share = torch.nn.functional.one_hot(selection.assignment.clamp(min=0), slots).float()
    share = share * (selection.assignment >= 0)[..., None]
    mean = share.transpose(1, 2) @ values.float() / share.sum(dim=1).clamp(min=1)[..., None]
    return mean.to(values.dtype)
