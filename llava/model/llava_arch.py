"""What turns a language model into LLaVA: a vision tower, a projector, and the fusion of text and image tokens."""

from collections import defaultdict
from typing import Any

import torch
from torch import nn

from llava.constants import IMAGE_TOKEN_INDEX
from llava.errors import InputError
from llava.mm_utils import get_anyres_image_grid_shape
from llava.model.assembly import grid_of, reduced_order, unreduced_order
from llava.model.fusion import Plan, fuse, plan_fusion
from llava.model.multimodal_encoder.builder import build_vision_tower
from llava.model.multimodal_encoder.clip_encoder import Encoded
from llava.model.multimodal_projector.builder import build_vision_projector
from llava.model.trace import Trace
from llava.reduction import Reduction


class LlavaMetaModel:
    """Mixed in before a decoder: holds the vision tower, the projector and LLaVA-NeXT's newline token."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)  # type: ignore[call-arg]
        if getattr(config, "mm_vision_tower", None):
            self.vision_tower = build_vision_tower(config)
            self.mm_projector = build_vision_projector(config)
            if "unpad" in (getattr(config, "mm_patch_merge_type", None) or "flat"):
                self.image_newline = nn.Parameter(torch.zeros(config.hidden_size))

    def get_vision_tower(self) -> Any:
        """The vision tower (LLaVA's accessor)."""
        return self.vision_tower


class LlavaMetaForCausalLM:
    """Mixed in before a causal LM whose `model` is a `LlavaMetaModel`: images to tokens, prompts to decoder inputs."""

    def get_vision_tower(self) -> Any:
        """The vision tower (LLaVA's accessor)."""
        return self.get_model().get_vision_tower()

    def encode_images(
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
        projector = self.get_model().mm_projector
        weight = next(projector.parameters(), encoded.features)
        features = projector(encoded.features.to(weight.dtype))
        return self._assemble(features, encoded, [len(view) for view in views], image_sizes)

    def _assemble(
        self, features: torch.Tensor, encoded: Encoded, views: list[int], image_sizes: list[tuple[int, int]] | None
    ) -> tuple[torch.Tensor, list[int]]:
        """(V, k, D) features of views to the (total, D) tokens of images, by the checkpoint's patch merge type."""
        per_view = features.shape[1]
        merge_type = getattr(self.config, "mm_patch_merge_type", None) or "flat"
        if merge_type == "flat" or (encoded.selection is not None and max(views) == 1):
            return features.flatten(0, 1), [count * per_view for count in views]
        grids = [(0, 0)] * len(views)
        if max(views) > 1:
            if image_sizes is None:
                raise InputError("anyres images need image_sizes: got none, expected (width, height) of each picture")
            side_pixels = self.get_vision_tower().config.image_size
            pinpoints = self.config.image_grid_pinpoints
            grids = [
                grid_of(count, get_anyres_image_grid_shape(size, pinpoints, side_pixels))
                for count, size in zip(views, image_sizes)
            ]
        first_view = torch.tensor([0, *views]).cumsum(0)[:-1].tolist()
        starts = [view * per_view for view in first_view]
        side = self.get_vision_tower().num_patches_per_side
        flat = features.flatten(0, 1)
        if encoded.selection is None:
            return self._spatial(flat, starts, grids, side, image_sizes or [(1, 1)] * len(views), merge_type)

        # Images of the same grid are put in order together.
        pieces: list[torch.Tensor] = [flat] * len(views)
        alike: dict[tuple[int, int], list[int]] = defaultdict(list)
        for number, grid in enumerate(grids):
            alike[grid].append(number)
        for (rows, cols), numbers in alike.items():
            chosen = torch.tensor([first_view[number] for number in numbers], device=flat.device)
            members = chosen[:, None] + torch.arange(1 + rows * cols, device=flat.device)
            contextual = per_view - 1 - encoded.selection.kept.shape[1]
            order = reduced_order(encoded.selection.kept[members], contextual, rows, max(cols, 1), side)
            tokens = flat[order + chosen[:, None] * per_view]
            for number, token in zip(numbers, tokens):
                pieces[number] = token
        return torch.cat(pieces), [len(piece) for piece in pieces]

    def _spatial(
        self,
        flat: torch.Tensor,
        starts: list[int],
        grids: list[tuple[int, int]],
        side: int,
        image_sizes: list[tuple[int, int]],
        merge_type: str,
    ) -> tuple[torch.Tensor, list[int]]:
        """LLaVA-NeXT without reduction: tiles put together as one picture, padding cut off, newline tokens."""
        unpad = "unpad" in merge_type
        orders, lengths = [], []
        for start, (rows, cols), size in zip(starts, grids, image_sizes):
            order, length = unreduced_order(rows, cols, side, tuple(size), unpad)
            newline = (1 + rows * cols) * side * side
            orders.append(torch.where(order == newline, len(flat), order + start))
            lengths.append(length)
        if unpad:
            flat = torch.cat([flat, self.get_model().image_newline[None].to(flat)])
        return flat[torch.cat(orders).to(flat.device)], lengths

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
            encoded: what `encode_images` gave for them earlier; `images` is then not looked at.
        """
        ids = input_ids.cpu()
        mask = attention_mask.cpu() if attention_mask is not None else None
        if encoded is None:
            encoded = self.encode_images(*sort_images(ids, images, image_sizes), reduction, trace)
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
