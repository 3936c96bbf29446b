"""What every vision tower is: LLaVA's names, its weights, the features of one layer, and what a method keeps of them.

A kind of tower (`clip_encoder.py`, `siglip_encoder.py`) says how pixels are seen and what a method may
ask about them.
"""

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from llava.errors import InputError, shown
from llava.model.attention_kernels import runs_without_cudnn
from llava.model.devices import device_of
from llava.model.evidence.clip import ClipEvidence
from llava.model.evidence.surroundings import Surroundings
from llava.model.multimodal_encoder.tower_configs import tower_config
from llava.model.multimodal_encoder.tower_files import TowerFiles
from llava.model.multimodal_encoder.wanted import Wanted
from llava.model.question import Asked
from llava.reduction import Reduction, Selection


@dataclass(frozen=True)
class Encoded:
    """Features of V views.

    Attributes:
        features: (V, k, D): all patches, or [CLS] with `cls_patch`, or what a method kept: [CLS], dominant, contextual.
        selection: what was kept; None where nothing was dropped.
        evidence: what a method that chooses after the projector may ask about the views; None for others.
    """

    features: torch.Tensor
    selection: Selection | None
    evidence: ClipEvidence | None = None


@dataclass
class _Note:
    """What a call of the tower is told besides, and where it leaves what was kept.

    No list or dict: accelerate's hooks hand on copies of those.
    """

    views: tuple[int, ...] = ()
    asked: Asked | None = None
    selection: Selection | None = None
    evidence: ClipEvidence | None = None


class VisionTower(TowerFiles, nn.Module):
    """A vision tower, under LLaVA's names.

    Args:
        vision_tower: a folder, a hub id, or a name in the checkpoint; None where `args` hold the geometry.
        args: LLaVA's configuration or training arguments: what `choose` reads, and perhaps `mm_vision_config`, the
            encoder's geometry.
        delay_load: begin with random weights; `load_model` reads them, or loading the whole model.
    """

    encoder_class: ClassVar[Any]
    """The encoder, called as a module with pixels and `layers=`; gives a `PartialOutput`."""
    evidence_class: ClassVar[type[ClipEvidence]]
    """What a method may ask about one layer of it."""
    select_feature = "patch"
    """`patch`, or `cls_patch`: [CLS] goes before the patches where nothing is dropped."""
    passes = 1
    """How often the encoder runs for one view."""

    def __init__(self, vision_tower: str | None, args: Any, delay_load: bool = False) -> None:
        super().__init__()
        self.vision_tower_name = vision_tower
        self._embedded = getattr(args, "mm_vision_config", None)
        self._checkpoint = getattr(args, "name_or_path", None) or None
        if self._embedded is not None:
            config = tower_config(self._embedded, "mm_vision_config", "a configuration")
        else:
            config = copy.deepcopy(self.source.config)
        wanted = self.encoder_class.config_class
        if not isinstance(config, wanted):
            raise InputError(
                f"{type(self).__name__} needs an encoder of its kind: got model_type {config.model_type} in "
                f"{shown(vision_tower)}, expected {wanted.model_type}; build_vision_tower chooses by itself"
            )
        # The language model's choice of attention kernel holds for the tower: CLIP and SigLIP have the same ones.
        chosen = getattr(args, "_attn_implementation", None)
        config._attn_implementation = chosen if chosen in ("eager", "sdpa", "flash_attention_2") else "sdpa"
        self.layers_to_run = self.choose(args, config)
        self.vision_tower = self.encoder_class(config)
        if not delay_load:
            self.load_model()

    def choose(self, args: Any, config: Any) -> int:
        """Read what is said about features; return how many of the encoder's layers run; InputError if it cannot be."""
        raise NotImplementedError

    @property
    def dummy_feature(self) -> torch.Tensor:
        """(1, D) zeros, for prompts without an image."""
        return torch.zeros(1, self.hidden_size, device=self.device, dtype=self.dtype)

    @property
    def last_layer(self) -> nn.Module:
        """The layer whose output the features are; those after it never run."""
        return self.vision_tower.encoder.layers[self.layers_to_run - 1]

    def entering_last(self, pixels: torch.Tensor) -> torch.Tensor:
        """(V, 3, height, width), any floating dtype and device -> (V, tokens, D), what enters `last_layer`."""
        return self._run(self._checked(pixels), self.layers_to_run - 1).last_hidden_state

    def see(self, pixels: torch.Tensor, reduction: Reduction | None = None) -> Any:
        """Run the encoder up to the selected layer over (V, 3, height, width) pixels; what `evidence` is made of.

        Args:
            reduction: a method that may want more of the encoder, or a smaller picture.
        """
        return self._run(self._checked(pixels), self.layers_to_run, self.wanted(reduction))

    def evidence(
        self, seen: Any, pixels: torch.Tensor, views: tuple[int, ...] = (), asked: Asked | None = None
    ) -> ClipEvidence:
        """What a method may ask about `seen`. Nothing is computed before it is asked for.

        Args:
            views, asked: see `encode`.
        """
        around = Surroundings(self, seen.others or {}, seen.into, views, asked)
        return self.evidence_class(self.last_layer, seen.entering, seen.last_hidden_state, pixels, around)

    def wanted(self, reduction: Reduction | None) -> Wanted | None:
        """What a method wants of the encoder besides its last layer; None: nothing."""
        depth = len(self.vision_tower.encoder.layers)
        wanted = Wanted.of(reduction, depth, self.layers_to_run, self.num_patches_per_side)
        return None if wanted.nothing else wanted

    def _checked(self, pixels: torch.Tensor) -> torch.Tensor:
        edge = self.image_size
        if tuple(pixels.shape[2:]) != (edge, edge):
            raise InputError(
                f"a view must have the size that the vision tower takes: got {' x '.join(map(str, pixels.shape[2:]))} "
                f"pixels, expected {edge} x {edge}; prepare images with llava.mm_utils.process_images and the model's "
                f"own image processor"
            )
        return pixels

    @runs_without_cudnn
    def _run(self, pixels: torch.Tensor, layers: int, wanted: Wanted | None = None) -> Any:
        return self.vision_tower(pixels.to(device=self.device, dtype=self.dtype), layers=layers, wanted=wanted)

    def encode(
        self,
        pixels: torch.Tensor,
        reduction: Reduction | None = None,
        views: tuple[int, ...] = (),
        asked: Asked | None = None,
    ) -> Encoded:
        """Run the encoder up to the selected layer and keep what the method keeps there.

        Args:
            pixels: (V, 3, height, width), any floating dtype and device; moved to the tower's.
            views: how many of the views, one after the other, are of each picture; (): one.
            asked: the questions, for a method that reads them here.
        """
        note = _Note(views, asked)
        features = self(pixels, reduction, note)
        return Encoded(features, note.selection, note.evidence)

    def forward(self, images: Any, reduction: Reduction | None = None, note: "_Note | None" = None) -> Any:
        """LLaVA's call: (V, 3, h, w) -> (V, k, D), or a list of single images -> a list of (1, k, D).

        Args:
            reduction: what keeps a part of the patches; None: nothing is dropped.
            note: what was kept is written into it, and the features stay in the tower's dtype; without it they come in
                the images' dtype, as LLaVA's do.
        """
        if isinstance(images, list):
            return [self(image[None], reduction) for image in images]
        later = reduction is not None and reduction.after_projector is not None
        told = note or _Note()
        evidence = self.evidence(self.see(images, reduction), images, told.views, told.asked)
        selection = reduction.at_encoder(evidence) if reduction is not None else None
        if selection is not None:
            features = selection.tokens(evidence.values, evidence.cls_token if selection.keeps_cls else None)
        else:
            whole = self.select_feature == "cls_patch" and not later
            features = evidence.tokens if whole else evidence.values
        if note is None:
            return features.to(images.dtype)
        note.selection, note.evidence = selection, evidence if later else None
        return features

    @property
    def dtype(self) -> torch.dtype:
        """dtype of the weights."""
        return self.vision_tower.dtype

    @property
    def device(self) -> torch.device:
        """Where pixels belong: the device of the weights, also of those that are kept elsewhere between calls."""
        return device_of(self.vision_tower)

    @property
    def config(self) -> Any:
        """The encoder's configuration, as its own folder has it."""
        return self.vision_tower.config

    @property
    def hidden_size(self) -> int:
        """D."""
        return self.config.hidden_size

    @property
    def image_size(self) -> int:
        """Edge of a view in pixels."""
        return self.config.image_size

    @property
    def num_patches_per_side(self) -> int:
        """24 for 336 pixels in patches of 14."""
        return self.config.image_size // self.config.patch_size

    @property
    def num_patches(self) -> int:
        """Patches of one view, [CLS] not counted."""
        return self.num_patches_per_side**2
