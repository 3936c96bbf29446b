"""The order in the LLM of what a method kept of the views of pictures.

Index arithmetic, as in `assembly`: numbers of slots, which are the tokens that left the encoder, view after view, each
view having as many as the widest.
"""

from collections.abc import Sequence

import torch

from llava.model.assembly import order_of
from llava.model.forms import Form, Rules, follow_one_another
from llava.model.reduced_order import reduced_tokens
from llava.reduction.selection import NEWLINES, VIEWS, Selection
from llava.reduction.sent import sent


def is_even(selection: Selection) -> bool:
    """True where every view fills all its slots."""
    slots = int(selection.keeps_cls) + selection.kept.shape[1]
    slots += 0 if selection.merged is None else selection.merged.values.shape[1]
    return all(count == slots for count in selection.counts)


def view_order(selection: Selection, views: list[int]) -> tuple[torch.Tensor | None, list[int]]:
    """One view after the other, each as it is, without its filling.

    Args:
        selection: of V views; views: how many of them each picture has.

    Returns:
        (total,) int64 slots, on the CPU, None where that is all of them; and the tokens of each picture.
    """
    counts, firsts = selection.counts, [0]
    for count in views:
        firsts.append(firsts[-1] + count)
    lengths = [sum(counts[first:stop]) for first, stop in zip(firsts, firsts[1:])]
    if is_even(selection):
        return None, lengths
    lead, kept = int(selection.keeps_cls), selection.kept.shape[1]
    place = torch.arange(kept)
    real = [place < torch.tensor(selection.kept_counts)[:, None]]
    if lead:
        real.insert(0, torch.ones(len(counts), 1, dtype=torch.bool))
    if selection.merged is not None:
        slot = torch.arange(selection.merged.values.shape[1])
        real.append(slot < torch.tensor(selection.merged.counts)[:, None])
    return torch.cat(real, dim=1).flatten().nonzero().flatten(), lengths


def kept_order(selection: Selection, forms: Sequence[Form], rules: Rules) -> tuple[torch.Tensor | None, list[int]]:
    """The order that a selection of the views of pictures asks for.

    Args:
        forms: of each picture.

    Returns:
        (total,) int64 slots, one more than there are standing for the newline token, None where it is all slots as they
        are; and the tokens of each picture.
    """
    views = [form.views for form in forms]
    if selection.arrangement == VIEWS or not is_even(selection):
        return view_order(selection, views)
    wants_newlines = selection.arrangement == NEWLINES and rules.merge.spatial
    with_newlines = [wants_newlines and order_of(form, rules).blend is None for form in forms]
    plain = [follow_one_another(form, rules, reduced=True) for form in forms]
    slots = int(selection.keeps_cls) + selection.kept.shape[1]
    slots += 0 if selection.merged is None else selection.merged.values.shape[1]
    if all(plain) and not any(with_newlines):
        return None, [slots * count for count in views]
    if all(with_newlines):
        return newline_order(selection, forms, rules)
    reduced = reduced_tokens(selection, slots, forms, rules)
    if not any(with_newlines):
        return reduced
    ways = [reduced, newline_order(selection, forms, rules)]
    pieces = [order.split(lengths) for order, lengths in ways]
    chosen = [pieces[with_newline][number] for number, with_newline in enumerate(with_newlines)]
    return torch.cat(chosen), [len(piece) for piece in chosen]


def newline_order(selection: Selection, forms: Sequence[Form], rules: Rules) -> tuple[torch.Tensor, list[int]]:
    """Kept patches where the unreduced pictures have them, and all their newlines; what lies in padding is cut off.

    How many patches that is, only the device knows: it is asked once for all pictures.

    Args:
        selection: of V views, each of k slots, without [CLS] and merged tokens.

    Returns:
        As `kept_order`; blends of patches are left out.
    """
    views, slots = selection.kept.shape
    patches, device = selection.scores.shape[1], selection.kept.device
    slot_of = torch.full((views, patches + 1), -1, device=device)
    number = torch.arange(views * slots, device=device).view(views, slots)
    slot_of = slot_of.scatter(1, selection.kept, number)[:, :-1].flatten()
    slot_of = torch.cat([slot_of, sent([views * slots, -1], device)])
    orders, first = [], 0
    for form in forms:
        own, count = order_of(form, rules).tokens, form.views * patches
        place = (own + first).masked_fill(own == count, views * patches)
        orders.append(place.masked_fill(own > count, views * patches + 1))
        first += count
    order = slot_of[sent(torch.cat(orders), device)]
    there = order >= 0
    edges = torch.tensor([len(own) for own in orders]).cumsum(0) - 1
    seen = [0, *there.cumsum(0)[edges.to(device)].tolist()]
    return order[there], [after - before for before, after in zip(seen, seen[1:])]
