"""The files of a vision tower: where they lie, its weights, and how pictures become pixels for it."""

from typing import Any

import torch

from llava.errors import InputError, shown
from llava.model.checkpoint.folder import Folder
from llava.model.loading.names import compare
from llava.model.multimodal_encoder.image_processor import build_image_processor
from llava.model.multimodal_encoder.source import TowerSource, locate_tower
from llava.model.multimodal_encoder.weights import read_tower


class TowerFiles:
    """Mixed in before a vision tower: LLaVA's `load_model`, `is_loaded` and `image_processor`."""

    vision_tower: Any
    vision_tower_name: str | None
    is_loaded = False
    _embedded: Any = None
    _checkpoint: str | None = None
    _source: TowerSource | None = None
    _image_processor: Any = None

    @property
    def config(self) -> Any:
        """The encoder's configuration."""
        raise NotImplementedError

    @property
    def image_size(self) -> int:
        """Edge of a view in pixels."""
        raise NotImplementedError

    @property
    def source(self) -> TowerSource:
        """Where the tower lies, looked for when it is asked for; InputError where it is nowhere."""
        if self._source is None:
            if not self.vision_tower_name:
                raise InputError("a vision tower must be named: got no mm_vision_tower; give a CLIP folder or hub id")
            self._source = locate_tower(self.vision_tower_name, self._checkpoint, self._embedded)
        return self._source

    @source.setter
    def source(self, source: TowerSource) -> None:
        self._source = source

    def load_model(self, device_map: Any = None) -> None:
        """Read the tower's weights from where it lies; nothing happens where they are there already.

        Args:
            device_map: a device to move it to; a map or `auto` changes nothing, as the tower is part of a model.

        Raises:
            InputError: when its weights lie nowhere by themselves, or do not fit.
        """
        if self.is_loaded:
            return
        if self.source.name is None:
            raise InputError(
                f"a vision tower's weights must lie somewhere: {shown(self.vision_tower_name)} is known by its "
                f"geometry alone; they come with the checkpoint, load that with from_pretrained"
            )
        state = read_tower(Folder(self.source.name), self.config)
        compare(state, self.vision_tower.state_dict(), set(), self.source.name)
        self.vision_tower.load_state_dict({name: tensor[...] for name, tensor in state.items()})
        self.vision_tower.requires_grad_(False)
        self.is_loaded = True
        if isinstance(device_map, (int, torch.device)) or (isinstance(device_map, str) and device_map != "auto"):
            self.vision_tower.to(device_map)

    @property
    def image_processor(self) -> Any:
        """What makes pixels of pictures for this tower; InputError where no file says how."""
        if self._image_processor is None:
            self._image_processor = build_image_processor(self.source, self.image_size)
        return self._image_processor

    @image_processor.setter
    def image_processor(self, processor: Any) -> None:
        self._image_processor = processor

    @property
    def has_image_processor(self) -> bool:
        """False where none was made or given yet."""
        return self._image_processor is not None
