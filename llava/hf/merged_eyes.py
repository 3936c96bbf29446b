"""What a method leaves of the pictures of Qwen's vision-language models."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers.vision_utils import get_vision_window_index

from llava.hf.cloning import clone, mixed, with_part
from llava.hf.merged_evidence import MergedEvidence, Watched, Watching
from llava.hf.mrope import follow_merge
from llava.hf.note import Entering, Note, Pictures
from llava.hf.seeing import Seeing
from llava.model.evidence.projected import ViewEvidence
from llava.reduction import Reduction, Selection


class MergedSeeing(Seeing):
    """Qwen2-VL's and Qwen2.5-VL's model in a call."""

    def get_image_features(self, pixel_values: torch.Tensor, image_grid_thw: Any = None, **kwargs: Any) -> Any:
        """transformers' call and result; what is to enter in their place is noted."""
        note: Note = self.__dict__["note"]
        seen: list[Watched] = []
        place = watched_block(self.visual)
        watching = mixed(Watching, type(self.visual.blocks[place]))
        visual = with_part(self.visual, f"blocks.{place}", watching, seen=seen)
        whole: Any = super(MergedSeeing, clone(self, visual=visual))
        made = whole.get_image_features(pixel_values, image_grid_thw, **kwargs)
        values, counts = made.pooler_output, tuple(map(len, made.pooler_output))
        if not note.plan.acts_before:
            note.pictures = Pictures(counts)
            return made
        rows = unit_rows(self.visual, image_grid_thw)
        deep = self.deep_of(made)
        evidence = _Grouped(values, rows, seen[0], pixel_values)
        note.pictures = Pictures(counts, evidence.entering(note.plan.before, deep))
        return made

    def deep_of(self, made: Any) -> Sequence[Sequence[torch.Tensor]]:
        """What is added to each picture's tokens after the first layers of the LLM: [layer][picture]."""
        return ()


class DeepSeeing(MergedSeeing):
    """Qwen3-VL's."""

    def deep_of(self, made: Any) -> Sequence[Sequence[torch.Tensor]]:
        """The deepstack features, which older releases of transformers (5.12) give of all pictures together."""
        counts = [len(own) for own in made.pooler_output]
        return [one.split(counts) if isinstance(one, torch.Tensor) else one for one in made.deepstack_features]


def watched_block(visual: Any) -> int:
    """The last block that looks at whole pictures."""
    full = getattr(visual, "fullatt_block_indexes", None)
    return max(full) if full else len(visual.blocks) - 1


def unit_rows(visual: Any, grids: torch.Tensor) -> torch.Tensor:
    """(tokens, unit) int64, for each merged token of all pictures, row by row, its patches among the tower's rows.

    The patches of a token follow one another. Qwen2.5-VL's tower orders the tokens by windows.
    """
    unit = visual.spatial_merge_size**2
    total = int(grids.prod(dim=-1).sum()) // unit
    place = torch.arange(total, device=grids.device)
    if getattr(visual, "fullatt_block_indexes", None) is not None:
        sizes = {"window_size": visual.window_size, "patch_size": visual.patch_size}
        index, _ = get_vision_window_index(grids, spatial_merge_size=visual.spatial_merge_size, **sizes)
        place = index.to(grids.device).argsort()
    return place[:, None] * unit + torch.arange(unit, device=grids.device)


class _Grouped:
    """Pictures asked about with those of the same number of tokens, so that none depends on what stands beside it."""

    def __init__(
        self, values: Sequence[torch.Tensor], rows: torch.Tensor, watched: Watched, pixels: torch.Tensor
    ) -> None:
        self._values, self._watched, self._pixels = values, watched, pixels
        self._rows = rows.to(watched.hidden.device).split([len(own) for own in values])
        unit = rows.shape[1]
        order = torch.arange(rows.numel(), device=pixels.device)
        self._orders = order.split([len(own) * unit for own in values])

    def entering(self, method_for: Any, deep: Sequence[Sequence[torch.Tensor]]) -> Entering:
        """What enters the LLM, asked of the method for pictures of each size."""
        by_length: dict[int, list[int]] = {}
        for number, own in enumerate(self._values):
            by_length.setdefault(len(own), []).append(number)
        found: dict[int, list[torch.Tensor]] = {}
        for length, numbers in by_length.items():
            values, rows, orders = (
                torch.stack([parts[number] for number in numbers]) for parts in (self._values, self._rows, self._orders)
            )
            evidence = MergedEvidence(values, rows, self._watched, self._pixels, orders)
            stacked = [torch.stack([layer[number] for number in numbers]) for layer in deep]
            for number, parts in zip(numbers, left_of(method_for(length), evidence, stacked)):
                found[number] = parts
        ordered = [found[number] for number in range(len(self._values))]
        tokens, sources, *added = (torch.cat(parts) for parts in zip(*ordered))
        return Entering(tokens, tuple(len(parts[0]) for parts in ordered), sources, tuple(added))


def left_of(method: Reduction, evidence: MergedEvidence, deep: list[torch.Tensor]) -> list[list[torch.Tensor]]:
    """Of each picture what is left: tokens (k, D), sources (k,), and what is added to them later, (k, D) each.

    Merged tokens stand at their targets, so that tokens follow one another as in the picture.
    """
    if method.after_projector is not None:
        selection = method.at_projector(ViewEvidence(evidence.values, evidence))  # type: ignore[arg-type]
    else:
        selection = method.at_encoder(evidence)  # type: ignore[arg-type]
    images, length = evidence.values.shape[:2]
    if selection is None:
        own = torch.arange(length, device=evidence.values.device)
        return [[evidence.values[i], own, *(one[i] for one in deep)] for i in range(images)]
    places, states = _laid_out(selection, evidence.values)
    later = [_laid_out(selection, one, again=True)[1] for one in deep]
    made = []
    for i, count in enumerate(selection.counts):
        order = places[i].argsort(stable=True)[:count]
        made.append([states[i, order], places[i, order], *(one[i, order] for one in later)])
    return made


def _laid_out(selection: Selection, values: torch.Tensor, again: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Sources (I, k + slots), fillings last in order, and what `values` (I, n, D) became there.

    Args:
        again: the values are others than those that were chosen from, and follow them.
    """
    merged = selection.merged
    kept = torch.nn.functional.pad(values, (0, 0, 0, 1)).take_along_dim(selection.kept[..., None], dim=1)
    if selection.values is not None and not again:
        kept = selection.values
    if merged is None:
        return selection.kept, kept
    folded = follow_merge(values, merged) if again else merged.values
    return torch.cat([selection.kept, merged.targets], dim=1), torch.cat([kept, folded], dim=1)
