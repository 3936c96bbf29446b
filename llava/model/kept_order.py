"""The order in the LLM of what a method kept of the views of pictures, where it is not VisionZip's.

Index arithmetic, as in `assembly`: numbers of slots, which are the tokens that left the encoder, view after view, each
view having as many as the widest.
"""

import torch

from llava.reduction.selection import Selection


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


def newline_order(selection: Selection, unreduced: torch.Tensor, lengths: list[int]) -> tuple[torch.Tensor, list[int]]:
    """Kept patches where the unreduced pictures have them, and all their newlines; what lies in padding is cut off.

    How many patches that is, only the device knows: it is asked once for all pictures.

    Args:
        selection: of V views, each of k slots, without [CLS] and merged tokens.
        unreduced: (m,) int64, for the tokens of the unreduced pictures one after the other, their patches' numbers in
            all views; the number of all patches stands for the newline.
        lengths: tokens of each unreduced picture.

    Returns:
        (total,) int64 slots, the number of all slots standing for the newline; and the tokens of each picture.
    """
    views, slots = selection.kept.shape
    patches, device = selection.scores.shape[1], selection.kept.device
    slot_of = torch.full((views, patches + 1), -1, device=device)
    number = torch.arange(views * slots, device=device).view(views, slots)
    slot_of = slot_of.scatter(1, selection.kept, number)[:, :-1].flatten()
    slot_of = torch.cat([slot_of, slot_of.new_tensor([views * slots])])
    order = slot_of[unreduced.to(device, non_blocking=True)]
    there = order >= 0
    edges = torch.tensor(lengths).cumsum(0) - 1
    seen = [0, *there.cumsum(0)[edges.to(device)].tolist()]
    return order[there], [after - before for before, after in zip(seen, seen[1:])]
