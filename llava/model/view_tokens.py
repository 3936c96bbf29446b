"""Pixels of views to image tokens in the LLM's order, in three steps: the tower, the projector, the arrangement."""

from dataclasses import replace
from typing import Any

import torch

from llava.errors import InputError
from llava.model.assembly import parts_of, unreduced_tokens
from llava.model.devices import device_of, tensor_of
from llava.model.forms import Form, Rules, follow_one_another, forms_of, rules_of
from llava.model.image_entries import Sizes
from llava.model.image_inputs import list_images
from llava.model.kept_order import kept_order
from llava.model.layer_parts import as_rows
from llava.model.multimodal_encoder.vision_tower import Encoded
from llava.model.places import ImageTokens
from llava.model.projected_choice import choose_in_pictures, choose_in_views
from llava.model.question import Asked, tokenizer_of
from llava.model.sharded import gathers_by_call
from llava.model.trace import Trace
from llava.reduction import Reduction, name_of
from llava.reduction.sent import sent


class ViewTokens:
    """Mixed in before a causal LM with a vision tower and a projector, by `LlavaMetaForCausalLM`."""

    def encode_images(
        self, images: Any, image_sizes: Any = None, reduction: Reduction | None = None, modalities: Any = None
    ) -> Any:
        """LLaVA's call: pixels (V, 3, h, w) of V views -> (V, n, D), what the LLM would get of each view.

        A list of images, (v, 3, h, w) each, gives what `encode_views` does: their tokens in the LLM's order.

        Args:
            reduction: the method; None: the model's.
            modalities: of the images of a list, as in `generate`.
        """
        if isinstance(images, list):
            listed = list_images(images, image_sizes, modalities)
            method = self.method_of(reduction, frames=listed.frames)
            return self.encode_views(listed.views, listed.sizes, method, modalities=listed.modalities)
        method = self.method_of(reduction)
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
        image_sizes: Sizes | None,
        reduction: Reduction | None,
        trace: Trace | None = None,
        modalities: list[str] | None = None,
        asked: Asked | None = None,
    ) -> tuple[torch.Tensor, list[int]]:
        """Images to decoder inputs.

        Args:
            views: per image (v, 3, h, w) pixels of its v views.
            image_sizes: (width, height) in pixels per image; needed for the tiles of LLaVA-NeXT.
            modalities: of each image, see `llava.model.forms`; None: all are pictures.
            asked: the questions about them, for a method that reads these before the LLM.

        Returns:
            (total, D) tokens of all images one after the other, and the number of tokens of each image.
        """
        return self.image_tokens(views, image_sizes, reduction, trace, modalities, asked)[:2]

    def image_tokens(
        self,
        views: list[torch.Tensor],
        image_sizes: Sizes | None,
        reduction: Reduction | None,
        trace: Trace | None = None,
        modalities: list[str] | None = None,
        asked: Asked | None = None,
    ) -> ImageTokens:
        """`encode_views`, and where the tokens stand; arguments as there."""
        if not views:
            table = self.get_model().embed_tokens
            # Asked by its name outside of its call, ZeRO-3 would gather a weight from then on before every step.
            dtype = next(table.parameters()).dtype
            return ImageTokens(torch.empty(0, table.embedding_dim, dtype=dtype, device=device_of(table)), [])
        projected, counts = self._project(self._see(views, reduction, asked)), [len(view) for view in views]
        if reduction is not None and reduction.after_projector == "view":
            projected = choose_in_views(reduction, projected)
        elif reduction is not None and reduction.after_projector is not None:
            return self._choose_in_pictures(reduction, projected, counts, image_sizes, trace, modalities)
        if trace is not None:
            trace.encoder = projected.selection
        return ImageTokens(*self._arrange(projected, counts, image_sizes, trace, modalities))

    def _choose_in_pictures(
        self,
        method: Reduction,
        projected: Encoded,
        counts: list[int],
        image_sizes: Sizes | None,
        trace: Trace | None,
        modalities: list[str] | None,
    ) -> ImageTokens:
        """What a method leaves of all tokens of each image; arguments as of `_arrange`."""
        if method.after_projector == "image":
            whole = Trace()
            tokens, lengths = self._arrange(projected, counts, image_sizes, whole, modalities)

            def parts() -> torch.Tensor:
                rules, forms = self._forms(counts, image_sizes, modalities)
                rules = replace(rules, has_cls=False)  # no method gets [CLS] here
                return torch.cat([parts_of(form, rules) for form in forms])

            return choose_in_pictures(method, tokens, lengths, whole.order, projected, trace, parts)
        lengths = [count * projected.features.shape[1] for count in counts]
        return choose_in_pictures(method, projected.features.flatten(0, 1), lengths, None, projected, trace)

    def asked_in(self, ids: torch.Tensor, mask: torch.Tensor | None, labels: torch.Tensor | None = None) -> Asked:
        """The questions of prompts (B, L), on the CPU; see `prepare_inputs`."""
        table = self.get_model().embed_tokens
        return Asked.of(ids, mask, labels, lambda: tokenizer_of(self), lambda words: table(words.to(device_of(table))))

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

    def unseen_tokens(self, reduction: Reduction | None = None) -> torch.Tensor:
        """(0, D): no token, but tower, projector and newline take part, so that their gradients are zero, not absent.

        As in LLaVA, a batch without an image is given one of zeros: devices that train together wait for each other's
        gradients and weights, and an optimiser's momentum goes on.

        Args:
            reduction: the method of the call, which takes part where every device must call the same modules.
        """
        tower = self.get_vision_tower()
        pixels = torch.zeros(1, 3, tower.image_size, tower.image_size, device=tower.device, dtype=tower.dtype)
        method = reduction if gathers_by_call(tower) else None
        return self.encode_views([pixels], [(tower.image_size, tower.image_size)], method)[0][:0]

    def _project(self, seen: Encoded) -> Encoded:
        """The same in the LLM's width: features (V, n, D)."""
        projector = self.get_model().mm_projector
        weights = (weight for weight in projector.parameters() if weight.is_floating_point())  # not of 8 or 4 bits
        features = projector(as_rows(seen.features.to(next(weights, seen.features).dtype)))
        return Encoded(features, seen.selection, seen.evidence)

    def _forms(
        self, counts: list[int], image_sizes: Sizes | None, modalities: list[str] | None
    ) -> tuple[Rules, list[Form]]:
        """The configuration's rules for a call, and the form of each of its images."""
        tower = self.get_vision_tower()
        rules = rules_of(self.config, tower.num_patches_per_side, "video" in (modalities or ()))
        return rules, forms_of(self.config, tower.image_size, counts, image_sizes, modalities)

    def _arrange(
        self,
        projected: Encoded,
        counts: list[int],
        image_sizes: Sizes | None,
        trace: Trace | None,
        modalities: list[str] | None,
    ) -> tuple[torch.Tensor, list[int]]:
        """(total, D) tokens in the LLM's order, with newlines, and the number of tokens of each image.

        Args:
            counts: views of each image.
        """
        features, selection = projected.features, projected.selection
        rules, forms = self._forms(counts, image_sizes, modalities)
        newline = tensor_of(self.get_model(), "image_newline")
        flat = features.flatten(0, 1)
        if selection is not None:
            order, lengths = kept_order(selection, forms, rules)
            if order is None:
                return flat, lengths
            pool = flat if newline is None else torch.cat([flat, newline[None].to(flat)])
            tokens = pool[sent(order, flat.device)]
        elif all(follow_one_another(form, rules, reduced=False) for form in forms):
            return flat, [count * features.shape[1] for count in counts]
        else:
            tokens, lengths, order = unreduced_tokens(features, forms, rules, newline)
        if trace is not None:
            trace.order = order
        return tokens, lengths
