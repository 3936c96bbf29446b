"""What turns a language model into LLaVA: a vision tower, a projector, and the fusion of text and image tokens."""

from typing import Any

import torch
from torch import nn

from llava.errors import InputError
from llava.image_config import check_merge, max_length, patch_merge_type
from llava.mm_utils import get_anyres_image_grid_shape
from llava.model.assembly import grid_of, reduced_tokens, unpad_image, unreduced_tokens
from llava.model.context import warn_of_cut
from llava.model.devices import device_of, tensor_of
from llava.model.fusion import Plan, check_vocabulary, fuse, plan_fusion
from llava.model.image_inputs import sort_images
from llava.model.llava_inputs import LlavaInputs
from llava.model.multimodal_encoder.builder import build_vision_tower
from llava.model.multimodal_projector.builder import build_vision_projector
from llava.model.text_table import TextTable
from llava.model.trace import Trace
from llava.model.vision_modules import VisionModules, VisionTokenizer
from llava.reduction import Reduction

__all__ = ["LlavaMetaForCausalLM", "LlavaMetaModel", "unpad_image"]


class LlavaMetaModel(VisionModules):
    """Mixed in before a decoder: holds the vision tower, the projector and LLaVA-NeXT's newline token."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)  # type: ignore[call-arg]
        self.embed_tokens = TextTable(config.vocab_size, config.hidden_size, config.pad_token_id)
        if getattr(config, "mm_vision_tower", None):
            self.vision_tower = build_vision_tower(config, delay_load=True)
            self.mm_projector = build_vision_projector(config)
            if patch_merge_type(config) == "spatial_unpad":
                self.image_newline = nn.Parameter(torch.zeros(config.hidden_size))

    def get_vision_tower(self) -> Any:
        """The vision tower (LLaVA's accessor); None before `initialize_vision_modules`."""
        return getattr(self, "vision_tower", None)


class LlavaMetaForCausalLM(LlavaInputs, VisionTokenizer):
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
            table = self.get_model().embed_tokens
            return torch.empty(0, table.embedding_dim, dtype=table.weight.dtype, device=device_of(table)), []
        merge_type = patch_merge_type(self.config)
        check_merge(merge_type, self.get_vision_tower().select_feature)
        # Page-locked pixels are copied while the device computes, if each view goes there by itself.
        device = self.get_vision_tower().device
        pixels = torch.cat([view.to(device, non_blocking=True) for view in views])
        encoded = self.get_vision_tower().encode(pixels, reduction)
        if trace is not None:
            trace.encoder = encoded.selection
        features = self._project(encoded.features)
        counts = [len(view) for view in views]
        order, lengths = None, [count * features.shape[1] for count in counts]
        if merge_type != "flat" and (encoded.selection is None or max(counts) > 1):
            grids, side = self._grids(counts, image_sizes), self.get_vision_tower().num_patches_per_side
            if encoded.selection is None:
                sizes = image_sizes or [(1, 1)] * len(views)
                order, lengths = unreduced_tokens(grids, side, sizes, merge_type == "spatial_unpad")
            else:
                order, lengths = reduced_tokens(encoded.selection, features.shape[1], grids, side)
        if trace is not None:
            trace.order = order
        flat = features.flatten(0, 1)
        if order is None:
            return flat, lengths
        newline = tensor_of(self.get_model(), "image_newline")
        pool = flat if newline is None else torch.cat([flat, newline[None].to(flat)])
        return pool[order.to(flat.device)], lengths

    def _unseen(self) -> torch.Tensor:
        """(0, D): no token, but the projector takes part, so that its gradient is zero where a batch has no image.

        Devices that train together wait for each other's gradients, and an optimiser's momentum goes on.
        """
        return self._project(self.get_vision_tower().dummy_feature[None])[0, :0]

    def _grids(self, views: list[int], image_sizes: list[tuple[int, int]] | None) -> list[tuple[int, int]]:
        """Rows and columns of each image's tiles; 0 x 0 for an image of one view."""
        if max(views) == 1:
            return [(0, 0)] * len(views)
        if image_sizes is None:
            raise InputError("anyres images need image_sizes: got none, expected (width, height) of each picture")
        side_pixels = self.get_vision_tower().config.image_size
        pinpoints = getattr(self.config, "image_grid_pinpoints", None)
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
            views, sizes = sort_images(ids, images, image_sizes, mask)
            encoded = self.encode_views(views, sizes, reduction, trace)
            if self.training and images is not None and not views:
                encoded = self._unseen(), []
        features, lengths = encoded
        plan = plan_fusion(ids, mask, lengths, max_length(self.config))
        if plan.cut is not None and not self.training:
            warn_of_cut(plan.cut)
        table = self.get_model().embed_tokens
        check_vocabulary(ids, table.num_embeddings)
        text = table(input_ids.clamp(min=0).to(device_of(table), non_blocking=True))
        embeds = fuse(text, features, plan)
        if trace is not None:
            trace.inputs_embeds, trace.layout = embeds, plan.layout
        return embeds, plan
