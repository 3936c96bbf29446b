"""Pixels of views to image tokens in the LLM's order, in three steps: the tower, the projector, the arrangement."""

from typing import Any

import torch

from llava.errors import InputError
from llava.image_config import check_merge, patch_merge_type
from llava.model.assembly import grid_of, reduced_tokens, unreduced_tokens
from llava.model.devices import device_of, tensor_of
from llava.model.kept_order import is_even, newline_order, view_order
from llava.model.multimodal_encoder.vision_tower import Encoded
from llava.model.projected_choice import choose_in_pictures, choose_in_views
from llava.model.question import Asked, tokenizer_of
from llava.model.trace import Trace
from llava.pinpoints import get_anyres_image_grid_shape
from llava.reduction import Reduction, name_of
from llava.reduction.selection import NEWLINES, VIEWS


class ViewTokens:
    """Mixed in before a causal LM with a vision tower and a projector, by `LlavaMetaForCausalLM`."""

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
        if method.after_projector in ("patches", "image"):
            tokens, lengths = self.encode_views(list(images[:, None]), None, method)
            return torch.stack(tokens.split(lengths))
        projected = self._project(self._see([images], method))
        return (choose_in_views(method, projected) if method.after_projector else projected).features

    def encode_views(
        self,
        views: list[torch.Tensor],
        image_sizes: list[tuple[int, int]] | None,
        reduction: Reduction | None,
        trace: Trace | None = None,
        asked: Asked | None = None,
    ) -> tuple[torch.Tensor, list[int]]:
        """Images to decoder inputs.

        Args:
            views: per image (v, 3, h, w) pixels of its v views.
            image_sizes: (width, height) in pixels per image; needed for LLaVA-NeXT.
            asked: the questions about them, for a method that reads these before the LLM.

        Returns:
            (total, D) tokens of all images one after the other, and the number of tokens of each image.
        """
        if not views:
            table = self.get_model().embed_tokens
            return torch.empty(0, table.embedding_dim, dtype=table.weight.dtype, device=device_of(table)), []
        check_merge(patch_merge_type(self.config), self.get_vision_tower().select_feature)
        projected, counts = self._project(self._see(views, reduction, asked)), [len(view) for view in views]
        if reduction is not None and reduction.after_projector == "view":
            projected = choose_in_views(reduction, projected)
        elif reduction is not None and reduction.after_projector is not None:
            return self._choose_in_pictures(reduction, projected, counts, image_sizes, trace)
        if trace is not None:
            trace.encoder = projected.selection
        return self._arrange(projected, counts, image_sizes, trace)

    def _choose_in_pictures(
        self,
        method: Reduction,
        projected: Encoded,
        counts: list[int],
        image_sizes: list[tuple[int, int]] | None,
        trace: Trace | None,
    ) -> tuple[torch.Tensor, list[int]]:
        """What a method leaves of all tokens of each image; arguments and result as of `_arrange`."""
        if method.after_projector == "image":
            whole = Trace()
            tokens, lengths = self._arrange(projected, counts, image_sizes, whole)
            return choose_in_pictures(method, tokens, lengths, whole.order, projected, trace)
        lengths = [count * projected.features.shape[1] for count in counts]
        return choose_in_pictures(method, projected.features.flatten(0, 1), lengths, None, projected, trace)

    def asked_in(self, ids: torch.Tensor, mask: torch.Tensor | None) -> Asked:
        """The questions of prompts (B, L), on the CPU; see `prepare_inputs`."""
        table = self.get_model().embed_tokens
        return Asked.of(ids, mask, lambda: tokenizer_of(self), lambda words: table(words.to(device_of(table))))

    def _see(self, views: list[torch.Tensor], reduction: Reduction | None, asked: Asked | None = None) -> Encoded:
        """What leaves the tower of all views, one image's after the other's: features (V, n, D of the tower)."""
        if reduction is not None and reduction.question_at_encoder and asked is None:
            raise InputError(
                f"{name_of(reduction)} reads the question before the LLM: got pictures alone; ask about them with "
                f"generate, or encode_image with the whole prompt"
            )
        # Page-locked pixels are copied while the device computes, if each view goes there by itself.
        device = self.get_vision_tower().device
        pixels = torch.cat([view.to(device, non_blocking=True) for view in views])
        return self.get_vision_tower().encode(pixels, reduction, tuple(len(view) for view in views), asked)

    def _project(self, seen: Encoded) -> Encoded:
        """The same in the LLM's width: features (V, n, D)."""
        projector = self.get_model().mm_projector
        features = projector(seen.features.to(next(projector.parameters(), seen.features).dtype))
        return Encoded(features, seen.selection, seen.evidence)

    def _arrange(
        self,
        projected: Encoded,
        counts: list[int],
        image_sizes: list[tuple[int, int]] | None,
        trace: Trace | None,
    ) -> tuple[torch.Tensor, list[int]]:
        """(total, D) tokens in the LLM's order, with newlines, and the number of tokens of each image.

        Args:
            counts: views of each image.
        """
        merge_type = patch_merge_type(self.config)
        features, selection = projected.features, projected.selection
        order, lengths = None, [count * features.shape[1] for count in counts]
        by_view = selection is not None and (selection.arrangement == VIEWS or not is_even(selection))
        if selection is not None and by_view:
            order, lengths = view_order(selection, counts)
        elif merge_type != "flat" and (selection is None or max(counts) > 1 or selection.arrangement == NEWLINES):
            grids, side = self._grids(counts, image_sizes), self.get_vision_tower().num_patches_per_side
            if selection is None or selection.arrangement == NEWLINES:
                sizes = image_sizes or [(1, 1)] * len(counts)
                order, lengths = unreduced_tokens(grids, side, sizes, merge_type == "spatial_unpad")
                if selection is not None:
                    order, lengths = newline_order(selection, order, lengths)
            else:
                order, lengths = reduced_tokens(selection, features.shape[1], grids, side)
        if trace is not None:
            trace.order = order
        flat = features.flatten(0, 1)
        if order is None:
            return flat, lengths
        newline = tensor_of(self.get_model(), "image_newline")
        pool = flat if newline is None else torch.cat([flat, newline[None].to(flat)])
        return pool[order.to(flat.device)], lengths

    def _grids(self, views: list[int], image_sizes: list[tuple[int, int]] | None) -> list[tuple[int, int]]:
        """Rows and columns of each image's tiles; 0 x 0 for an image of one view."""
        if max(views) == 1:
            return [(0, 0)] * len(views)
        if image_sizes is None:
            raise InputError("anyres images need image_sizes: got none, expected (width, height) of each picture")
        side_pixels = self.get_vision_tower().image_size
        pinpoints = getattr(self.config, "image_grid_pinpoints", None)
        return [
            grid_of(count, get_anyres_image_grid_shape(size, pinpoints, side_pixels))
            for count, size in zip(views, image_sizes)
        ]
