"""What turns a language model into LLaVA: a vision tower, a projector, and the fusion of text and image tokens."""

from typing import Any

import torch
from torch import nn

from llava.constants import IMAGE_TOKEN_INDEX
from llava.errors import InputError
from llava.mm_utils import get_anyres_image_grid_shape
from llava.model.assembly import grid_of, reduced_tokens, unreduced_tokens
from llava.model.fusion import Plan, fuse, plan_fusion
from llava.model.llava_inputs import LlavaInputs
from llava.model.multimodal_encoder.builder import build_vision_tower
from llava.model.multimodal_projector.builder import build_vision_projector
from llava.model.text_table import TextTable
from llava.model.trace import Trace
from llava.reduction import Reduction


class LlavaMetaModel:
    """Mixed in before a decoder: holds the vision tower, the projector and LLaVA-NeXT's newline token."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)  # type: ignore[call-arg]
        self.embed_tokens = TextTable(config.vocab_size, config.hidden_size, config.pad_token_id)
        if getattr(config, "mm_vision_tower", None):
            self.vision_tower = build_vision_tower(config)
            self.mm_projector = build_vision_projector(config)
            if "unpad" in (getattr(config, "mm_patch_merge_type", None) or "flat"):
                self.image_newline = nn.Parameter(torch.zeros(config.hidden_size))

    def get_vision_tower(self) -> Any:
        """The vision tower (LLaVA's accessor); None: there is none."""
        return getattr(self, "vision_tower", None)


class LlavaMetaForCausalLM(LlavaInputs):
    """Mixed in before a causal LM whose `model` is a `LlavaMetaModel`: images to tokens, prompts to decoder inputs."""

    def get_vision_tower(self) -> Any:
        """The vision tower (LLaVA's accessor)."""
        return self.get_model().get_vision_tower()

    def encode_images(self, images: Any, image_sizes: Any = None, reduction: Reduction | None = None) -> Any:
        """LLaVA's call: pixels (V, 3, h, w) of V views -> (V, n, D), what the LLM would get of each view.

        A list of images, (v, 3, h, w) each, gives what `encode_views` does: their tokens in the LLM's order.

        Args:
            reduction: the method; None: the model's.
        """
        method = self.method_of(reduction)
        if isinstance(images, list):
            return self.encode_views(images, image_sizes, method)
        if not isinstance(images, torch.Tensor) or images.ndim != 4:
            got = tuple(images.shape) if isinstance(images, torch.Tensor) else f"a {type(images).__name__}"
            raise InputError(
                f"encode_images takes pixels (views, 3, height, width): got {got}; prepare them with "
                f"llava.mm_utils.process_images"
            )
        return self._project(self.get_vision_tower().encode(images, method).features)

    def _project(self, features: torch.Tensor) -> torch.Tensor:
        """(V, n, D of the tower) -> (V, n, D of the LLM)."""
        projector = self.get_model().mm_projector
        return projector(features.to(next(projector.parameters(), features).dtype))

    def encode_views(
        self,
        views: list[torch.Tensor],
        image_sizes: list[tuple[int, int]] | None,
        reduction: Reduction | None,
        trace: Trace | None = None,
    ) -> tuple[torch.Tensor, list[int]]:
        """Images to decoder inputs.

        Args:
            views: per image (v, 3, h, w) pixels of its v views.
            image_sizes: (width, height) in pixels per image; needed for LLaVA-NeXT.

        Returns:
            (total, D) tokens of all images one after the other, and the number of tokens of each image.
        """
        if not views:
            return self.get_model().embed_tokens.weight[:0], []
        # Page-locked pixels are copied while the device computes, if each view goes there by itself.
        device = self.get_vision_tower().device
        pixels = torch.cat([view.to(device, non_blocking=True) for view in views])
        encoded = self.get_vision_tower().encode(pixels, reduction)
        if trace is not None:
            trace.encoder = encoded.selection
        features = self._project(encoded.features)
        counts = [len(view) for view in views]
        merge_type = getattr(self.config, "mm_patch_merge_type", None) or "flat"
        order, lengths = None, [count * features.shape[1] for count in counts]
        if merge_type != "flat" and (encoded.selection is None or max(counts) > 1):
            grids, side = self._grids(counts, image_sizes), self.get_vision_tower().num_patches_per_side
            if encoded.selection is None:
                sizes = image_sizes or [(1, 1)] * len(views)
                order, lengths = unreduced_tokens(grids, side, sizes, "unpad" in merge_type)
            else:
                order, lengths = reduced_tokens(encoded.selection, features.shape[1], grids, side)
        if trace is not None:
            trace.order = order
        flat = features.flatten(0, 1)
        if order is None:
            return flat, lengths
        newline = getattr(self.get_model(), "image_newline", None)
        pool = flat if newline is None else torch.cat([flat, newline[None].to(flat)])
        return pool[order.to(flat.device)], lengths

    def _grids(self, views: list[int], image_sizes: list[tuple[int, int]] | None) -> list[tuple[int, int]]:
        """Rows and columns of each image's tiles; 0 x 0 for an image of one view."""
        if max(views) == 1:
            return [(0, 0)] * len(views)
        if image_sizes is None:
            raise InputError("anyres images need image_sizes: got none, expected (width, height) of each picture")
        side_pixels = self.get_vision_tower().config.image_size
        pinpoints = self.config.image_grid_pinpoints
        return [
            grid_of(count, get_anyres_image_grid_shape(size, pinpoints, side_pixels))
            for count, size in zip(views, image_sizes)
        ]

    def prepare_inputs(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        images: Any = None,
        image_sizes: list[tuple[int, int]] | None = None,
        reduction: Reduction | None = None,
        trace: Trace | None = None,
        encoded: tuple[torch.Tensor, list[int]] | None = None,
    ) -> tuple[torch.Tensor, Plan]:
        """Prompts and images to decoder inputs (B, T, D), and where everything is in them.

        Args:
            input_ids: (B, L) int64, -200 where an image goes, padded on any side.
            attention_mask: (B, L), 0 at padding.
            images: see `generate`.
            encoded: what `encode_views` gave for them earlier; `images` is then not looked at.
        """
        ids = input_ids.cpu()
        mask = attention_mask.cpu() if attention_mask is not None else None
        if encoded is None:
            encoded = self.encode_views(*sort_images(ids, images, image_sizes), reduction, trace)
        features, lengths = encoded
        plan = plan_fusion(ids, mask, lengths, getattr(self.config, "tokenizer_model_max_length", None))
        table = self.get_model().embed_tokens
        text = table(input_ids.clamp(min=0).to(table.weight.device, non_blocking=True))
        embeds = fuse(text, features, plan)
        if trace is not None:
            trace.inputs_embeds, trace.layout = embeds, plan.layout
        return embeds, plan


def sort_images(
    ids: torch.Tensor, images: Any, image_sizes: list[tuple[int, int]] | None
) -> tuple[list[torch.Tensor], list[tuple[int, int]] | None]:
    """The forms in which LLaVA takes images, as one list of (views, 3, h, w) tensors, in the order of the prompts.

    Taken: a tensor (I, 3, h, w) or (I, v, 3, h, w); a list of (3, h, w) or (v, 3, h, w). None in a list, or an image
    standing for a prompt that has no <image> (LLaVA's way to batch text-only prompts), is passed over.
    """
    if images is None:
        return [], image_sizes
    entries = list(images)
    sizes = list(image_sizes) if image_sizes is not None else [None] * len(entries)
    per_row = (ids == IMAGE_TOKEN_INDEX).sum(dim=1).tolist()
    if len(entries) != sum(per_row) and len(entries) == len(per_row) and max(per_row) <= 1:
        entries = [entry if count else None for entry, count in zip(entries, per_row)]
    if len(sizes) != len(entries):
        raise InputError(f"image_sizes must name every image: got {len(sizes)}, expected {len(entries)}")
    pairs = [(entry, size) for entry, size in zip(entries, sizes) if entry is not None]
    wrong = [entry for entry, _ in pairs if entry.ndim not in (3, 4)]
    if wrong:
        raise InputError(
            f"an image must be (3, height, width) or (views, 3, height, width): got {tuple(wrong[0].shape)}; "
            f"prepare it with llava.mm_utils.process_images"
        )
    views = [entry if entry.ndim == 4 else entry[None] for entry, _ in pairs]
    return views, [size for _, size in pairs] if image_sizes is not None else None
