"""What a method leaves of the pictures and videos of Qwen's vision-language models."""

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from transformers.vision_utils import get_vision_window_index

from llava.errors import InputError
from llava.hf.cloning import clone, mixed, with_part
from llava.hf.left import entering_of
from llava.hf.merged_evidence import MergedEvidence, Watched, Watching
from llava.hf.note import Note, Pictures
from llava.hf.seeing import Seeing
from llava.reduction import Reduction
from llava.reduction.base import name_of


class MergedSeeing(Seeing):
    """Qwen2-VL's and Qwen2.5-VL's model in a call."""

    takes_videos = True

    def get_image_features(self, pixel_values: torch.Tensor, image_grid_thw: Any = None, **kwargs: Any) -> Any:
        """transformers' call and result; what is to enter in their place is noted."""
        return self._see(pixel_values, image_grid_thw, self.config.image_token_id, kwargs)  # type: ignore[attr-defined]

    def get_video_features(self, pixel_values_videos: torch.Tensor, video_grid_thw: Any = None, **kwargs: Any) -> Any:
        """The same of videos, each of whose pairs of frames is a picture."""
        token = self.config.video_token_id  # type: ignore[attr-defined]
        return self._see(pixel_values_videos, video_grid_thw, token, kwargs)

    def _see(self, pixels: torch.Tensor, grids: torch.Tensor, token: int, kwargs: dict[str, Any]) -> Any:
        note: Note = self.__dict__["note"]
        plan = note.plan
        seen: dict[int, Watched] = {}
        visual, main = self.visual, last_whole_block(self.visual)  # type: ignore[attr-defined]
        if plan.acts_before:
            visual, seen = watched(visual, "blocks", (main, *plan.inside.encoder_layers))
        # transformers does the same with both; Qwen3-VL's own call for videos would come back here.
        whole: Any = super(MergedSeeing, clone(self, visual=visual))
        made = whole.get_image_features(pixels, grids, **kwargs)
        each = grids.repeat_interleave(grids[:, 0], dim=0)
        each[:, 0] = 1  # a pair of frames by itself
        shapes = [
            (high // visual.spatial_merge_size, wide // visual.spatial_merge_size) for _, high, wide in each.tolist()
        ]
        counts = tuple(rows * cols for rows, cols in shapes)
        if not plan.acts_before:
            note.pictures[token] = Pictures(counts)
            return made
        values = torch.cat(list(made.pooler_output)).split(counts)
        deep = [torch.cat(list(layer)).split(counts) for layer in self.deep_of(made)]
        asking = _Pictures(values, shapes, unit_rows(visual, each), seen, main, pixels)
        note.pictures[token] = Pictures(counts, entering_of(asking, len(counts), plan.before, deep))
        return made


class DeepSeeing(MergedSeeing):
    """Qwen3-VL's."""

    def deep_of(self, made: Any) -> Sequence[Sequence[torch.Tensor]]:
        """The deepstack features, which older releases of transformers (5.12) give of all pictures together."""
        return [[one] if isinstance(one, torch.Tensor) else one for one in made.deepstack_features]


def watched(tower: Any, blocks: str, places: Sequence[int]) -> tuple[Any, dict[int, Watched]]:
    """A clone of a tower, and what enters some of its blocks once it has run.

    Args:
        blocks: the dotted path of their list.
    """
    seen: dict[int, Watched] = {}
    for place in set(places):
        block = tower.get_submodule(f"{blocks}.{place}")
        tower = with_part(tower, f"{blocks}.{place}", mixed(Watching, type(block)), seen=seen, place=place)
    return tower, seen


def last_whole_block(visual: Any) -> int:
    """The last block that looks at whole pictures."""
    return max(whole_blocks(visual))


def whole_blocks(visual: Any) -> list[int]:
    """The numbers of blocks that look at whole pictures; Qwen2.5-VL's others look at windows."""
    return sorted(getattr(visual, "fullatt_block_indexes", None) or range(len(visual.blocks)))


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


class _Pictures:
    """Those of a call, asked about with others of the same rows and columns."""

    def __init__(
        self,
        values: Sequence[torch.Tensor],
        shapes: list[tuple[int, int]],
        rows: torch.Tensor,
        seen: dict[int, Watched],
        main: int,
        pixels: torch.Tensor,
    ) -> None:
        counts = [len(own) for own in values]
        self._values, self._shapes, self._seen, self._main, self._pixels = values, shapes, seen, main, pixels
        self._rows = rows.to(seen[main].hidden.device).split(counts)
        order = torch.arange(rows.numel(), device=pixels.device)
        self._orders = order.split([count * rows.shape[1] for count in counts])

    def key(self, number: int) -> Hashable:
        """Rows and columns."""
        return self._shapes[number]

    def evidence(self, numbers: list[int]) -> tuple[MergedEvidence, int]:
        """Every picture is seen once."""
        values, rows, orders = (
            torch.stack([parts[number] for number in numbers]) for parts in (self._values, self._rows, self._orders)
        )
        shape = self._shapes[numbers[0]]
        return MergedEvidence(values, rows, self._seen, self._main, self._pixels, orders, shape), 1


def layers_to_look_at(model: Any) -> dict[str, Any]:
    """Which blocks methods ask that look at several, as published for Qwen2.5-VL (16th and 8th of 32).

    Settings by their names: HiPrune's middle layer, from 1, and VScan's early one, from 0.
    """
    whole, depth = whole_blocks(model.model.visual), len(model.model.visual.blocks)
    middle = [place for place in whole if place < max(1, depth // 2)] or whole[:1]
    early = [place for place in whole if place >= depth // 4 - 1] or whole[:1]
    return {"object_layer": middle[-1] + 1, "early_layer": early[0]}


def check_layers(model: Any, method: Reduction) -> None:
    """Refuse to ask a block that looks at windows.

    Raises:
        InputError: names those that do not.
    """
    whole = whole_blocks(model.model.visual)
    for place in method.encoder_layers:
        if place not in whole:
            raise InputError(
                f"{name_of(method)} asks layers that look at whole pictures: got block {place} of the tower, from 0, "
                f"expected one of {', '.join(map(str, whole))}; leave the layer out"
            )
