"""Decoder inputs as LLaVA hands them to programs that run the decoder themselves."""

from typing import Any

import torch

from llava.errors import InputError
from llava.model.fusion import fuse_labels
from llava.model.image_inputs import longest_video
from llava.model.realign import pad_right
from llava.reduction import name_of


class LlavaInputs:
    """Mixed in before a causal LM with `prepare_inputs`, by `LlavaMetaForCausalLM`."""

    def prepare_inputs_labels_for_multimodal(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        past_key_values: Any,
        labels: torch.Tensor | None,
        images: Any,
        image_sizes: Any = None,
        modalities: Any = None,
    ) -> tuple[Any, Any, Any, Any, Any, Any]:
        """LLaVA's call, for programs that run the decoder themselves; the model's own `forward` needs no such step.

        Args:
            image_sizes, modalities: as in `generate`. LLaVA-NeXT's call has them the other way round; names in the
                place of sizes are taken for the modalities.

        Returns:
            None, position_ids, attention_mask, past_key_values, inputs_embeds (B, T, D), labels: padded on the side
            that the configuration's `tokenizer_padding_side` says, by default right; None where None was given.
            Without a tower, images or more than one token: the arguments, and None for the embeddings.

        Raises:
            InputError: where the model's method drops tokens inside the LLM, or leaves gaps between positions, which
                embeddings cannot tell it of.
        """
        if self.get_vision_tower() is None or images is None or input_ids.shape[1] == 1:
            return input_ids, position_ids, attention_mask, past_key_values, None, labels
        if _are_names(image_sizes):
            image_sizes, modalities = modalities, image_sizes
        method = self.method_of(None, frames=longest_video(images, modalities))
        if method.layers:
            raise InputError(
                f"embeddings do not say where images are: got a method that drops image tokens after layers "
                f"{method.layers}; call forward or generate with input_ids and images, or take a method of the encoder"
            )
        if method.keeps_gaps:
            raise InputError(
                f"embeddings do not say at which positions they stand: got the method '{name_of(method)}', which "
                f"leaves gaps; call forward or generate with input_ids and images, or take positions renumber"
            )
        embeds, plan = self.prepare_inputs(
            input_ids, attention_mask, images, image_sizes, method, modalities=modalities, labels=labels
        )
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


def _are_names(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list | tuple) and any(isinstance(one, str) for one in value))
