"""What turns a language model into LLaVA: a vision tower, a projector, and the fusion of text and image tokens."""

from typing import Any

import torch
from torch import nn

from llava.constants import IMAGE_TOKEN_INDEX
from llava.errors import InputError
from llava.mm_utils import get_anyres_image_grid_shape
from llava.model.assembly import grid_of, reduced_tokens, unreduced_tokens
from llava.model.fusion import Plan, fuse, fuse_labels, plan_fusion
from llava.model.multimodal_encoder.builder import build_vision_tower
from llava.model.multimodal_projector.builder import build_vision_projector
from llava.model.realign import pad_right
from llava.model.trace import Trace
from llava.reduction import Reduction


class TextTable(nn.Embedding):
    """The table of token embeddings, which says so where it is asked about an image."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        try:
            return super().forward(input)
        except IndexError as error:  # of a CPU; asking a GPU would make every token wait
            raise InputError(
                f"token ids must lie between 0 and {self.num_embeddings - 1}: got {int(input.min())} to "
                f"{int(input.max())}; -200 stands for an image, which only forward and generate with images can place "
                f"(prompt tuning cannot)"
            ) from error


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


class LlavaMetaForCausalLM:
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

    def prepare_inputs_labels_for_multimodal(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        past_key_values: Any,
        labels: torch.Tensor | None,
        images: Any,
        image_sizes: Any = None,
    ) -> tuple[Any, Any, Any, Any, Any, Any]:
        """LLaVA's call, for programs that run the decoder themselves; the model's own `forward` needs no such step.

        Returns:
            None, position_ids, attention_mask, past_key_values, inputs_embeds (B, T, D), labels: padded on the side
            that the configuration's `tokenizer_padding_side` says, by default right; None where None was given.
            Without a tower, images or more than one token: the arguments, and None for the embeddings.

        Raises:
            InputError: where the model's method drops tokens inside the LLM, which embeddings cannot tell it of.
        """
        if self.get_vision_tower() is None or images is None or input_ids.shape[1] == 1:
            return input_ids, position_ids, attention_mask, past_key_values, None, labels
        method = self.method_of(None)
        if method.layers:
            raise InputError(
                f"embeddings do not say where images are: got a method that drops image tokens after layers "
                f"{method.layers}; call forward or generate with input_ids and images, or take a method of the encoder"
            )
        embeds, plan = self.prepare_inputs(input_ids, attention_mask, images, image_sizes, method)
        labels = fuse_labels(labels, plan) if labels is not None else None
        layout, device = plan.layout, embeds.device
        real = torch.arange(layout.width, device=device) >= layout.padding(device)
        if getattr(self.config, "tokenizer_padding_side", "right") != "left":
            order = pad_right(layout).to(device)
            embeds, real = embeds.take_along_dim(order[..., None], dim=1), real.take_along_dim(order, dim=1)
            labels = labels.take_along_dim(order.to(labels.device), dim=1) if labels is not None else None
        if position_ids is not None:
            position_ids = (real.cumsum(dim=1) - 1).clamp(min=0).masked_fill(~real, 0)
        mask = real.to(attention_mask.dtype) if attention_mask is not None else None
        return None, position_ids, mask, past_key_values, embeds, labels


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
