"""What a method leaves of the pictures of InternVL, which are square tiles and a thumbnail."""

from collections.abc import Hashable
from typing import Any

import torch

from llava.errors import InputError
from llava.hf.cloning import clone
from llava.hf.left import entering_of
from llava.hf.merged_evidence import Watched
from llava.hf.merged_eyes import watched
from llava.hf.note import Note, Pictures
from llava.hf.plan import REFERENCE
from llava.hf.seeing import Seeing
from llava.hf.spans import runs
from llava.hf.tile_evidence import TileEvidence
from llava.reduction.base import Geometry


def tile_geometry(model: Any) -> Geometry:
    """Of a picture of `REFERENCE` tokens; how many tiles there may be only the processor knows.

    Raises:
        InputError: for features of several layers, or with [CLS], which make no square.
    """
    config = model.config
    layer, text = config.vision_feature_layer, config.text_config
    if not isinstance(layer, int) or config.vision_feature_select_strategy != "default":
        raise InputError(
            f"InternVL's tower must be seen at one layer, without [CLS]: got {layer} and "
            f"{config.vision_feature_select_strategy}; use the model that was given"
        )
    if "sliding_attention" in (getattr(text, "layer_types", None) or ()):
        raise InputError(
            "a model whose layers look back over a window alone is not reduced: got use_sliding_window; switch it off "
            "in the configuration, as the published checkpoints have it"
        )
    depth = config.vision_config.num_hidden_layers
    return Geometry(text.num_hidden_layers, REFERENCE, has_cls=False, encoder_layers=depth)


def tile_tokens(model: Any) -> int:
    """Tokens of a tile."""
    vision, ratio = model.config.vision_config, model.config.downsample_ratio
    edges = zip(vision.image_size, vision.patch_size)
    rows, cols = (int(edge // patch * ratio) for edge, patch in edges)
    return rows * cols


def feature_block(depth: int, layer: int) -> int:
    """The number of the layer that the features leave, of a hidden state's number."""
    return depth + layer if layer < 0 else layer - 1


class TiledSeeing(Seeing):
    """InternVL's model in a call."""

    def get_image_features(self, pixel_values: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """transformers' call and result; what is to enter in their place is noted."""
        note: Note = self.__dict__["note"]
        host: Any = self
        token, tower, plan = host.config.image_token_id, host.vision_tower, note.plan
        named = kwargs.get("vision_feature_layer", args[0] if args else None)
        layer = host.config.vision_feature_layer if named is None else named
        main = feature_block(len(tower.encoder.layer), layer)
        seen: dict[int, Watched] = {}
        if plan.acts_before:
            tower, seen = watched(tower, "encoder.layer", (main, *plan.inside.encoder_layers))
        whole: Any = super(TiledSeeing, clone(self, vision_tower=tower))
        prompt, copies = note.prompt, _copies(note.asked, token, tile_tokens(host), len(pixel_values))
        if copies > 1:
            prompt, pixel_values = note.asked, pixel_values[::copies]
        made = whole.get_image_features(pixel_values, *args, **kwargs)
        tiles = tiles_of(prompt, token, made.pooler_output)
        counts = tuple(count * made.pooler_output.shape[1] for count in tiles)
        entering = None
        if plan.acts_before:
            asking = _Tiles(made.pooler_output, tiles, seen, main, pixel_values)
            entering = entering_of(asking, len(tiles), plan.before, ())
        note.pictures[token] = Pictures(counts, entering)
        if copies > 1 and prompt is not None:
            made.pooler_output = _repeated(made.pooler_output, prompt, token, copies)
        return made


def _copies(asked: torch.Tensor | None, token: int, each: int, tiles: int) -> int:
    """How often older releases of transformers (5.17) repeated each tile for beams, which tears pictures apart."""
    own = 0 if asked is None else int((asked == token).sum()) // each
    return tiles // own if own and tiles % own == 0 else 1


def _repeated(features: torch.Tensor, prompt: torch.Tensor, token: int, copies: int) -> torch.Tensor:
    """(tiles, n, D) -> (tiles * copies, n, D), those of each prompt repeated one after the other."""
    counts = ((prompt == token).sum(dim=1) // features.shape[1]).tolist()
    return torch.cat([own.repeat(copies, 1, 1) for own in features.split(counts)])


def tiles_of(prompt: torch.Tensor | None, token: int, features: torch.Tensor) -> list[int]:
    """Tiles of each picture, which only the prompt says: its placeholders follow one another.

    Args:
        prompt: (B, T) int64; None: each tile is a picture.
        features: (tiles, n, D).

    Raises:
        InputError: where the placeholders are not those of the tiles.
    """
    total, each = features.shape[:2]
    if prompt is None:
        return [1] * total
    lengths = [length for row in prompt for _, length in runs(row, token)]
    if sum(lengths) != total * each or any(length % each for length in lengths):
        raise InputError(
            f"prompts must have a placeholder for each token of their pictures: got {sum(lengths)} placeholders, "
            f"expected {total * each}, {each} for each tile; prepare text and pictures with the model's processor"
        )
    return [length // each for length in lengths]


class _Tiles:
    """The tiles of a call's pictures, asked about with those of pictures of as many."""

    def __init__(
        self, values: torch.Tensor, tiles: list[int], seen: dict[int, Watched], main: int, pixels: torch.Tensor
    ) -> None:
        self._values, self._tiles, self._seen, self._main, self._pixels = values, tiles, seen, main, pixels
        self._firsts = torch.tensor([0, *tiles]).cumsum(0).tolist()

    def key(self, number: int) -> Hashable:
        """How many tiles."""
        return self._tiles[number]

    def evidence(self, numbers: list[int]) -> tuple[Any, int]:
        """That of all tiles of some pictures."""
        count = self._tiles[numbers[0]]
        rows = [row for number in numbers for row in range(self._firsts[number], self._firsts[number] + count)]
        index = torch.tensor(rows, device=self._values.device)
        seen = {
            place: Watched(one.block, one.hidden[index.to(one.hidden.device)], None)
            for place, one in self._seen.items()
        }
        pixels = self._pixels[index.to(self._pixels.device)]
        return TileEvidence(self._values[index], seen, self._main, pixels, (count,) * len(numbers)), count
