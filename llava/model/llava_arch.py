"""What turns a language model into LLaVA: a vision tower, a projector, and the fusion of text and image tokens."""

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from llava.image_config import max_length
from llava.merge_config import merge_of
from llava.model.assembly import unpad_image
from llava.model.context import warn_of_cut
from llava.model.devices import device_of
from llava.model.fusion import Plan, check_vocabulary, fuse, plan_fusion
from llava.model.image_inputs import sort_images
from llava.model.llava_inputs import LlavaInputs
from llava.model.multimodal_encoder.builder import build_vision_tower
from llava.model.multimodal_projector.builder import build_vision_projector
from llava.model.places import ImageTokens, ahead_of
from llava.model.text_table import TextTable
from llava.model.trace import Trace
from llava.model.view_tokens import ViewTokens
from llava.model.vision_modules import VisionModules, VisionTokenizer
from llava.reduction import Reduction

__all__ = ["LlavaMetaForCausalLM", "LlavaMetaModel", "unpad_image"]


class LlavaMetaModel(VisionModules):
    """Mixed in before a decoder: holds the vision tower, the projector and LLaVA-NeXT's newline token."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)  # type: ignore[call-arg]
        self.set_input_embeddings(TextTable(config.vocab_size, config.hidden_size, config.pad_token_id))
        if getattr(config, "mm_vision_tower", None):
            self.vision_tower = build_vision_tower(config, delay_load=True)
            self.mm_projector = build_vision_projector(config)
            if merge_of(config).unpad:
                self.image_newline = nn.Parameter(torch.zeros(config.hidden_size))

    def get_vision_tower(self) -> Any:
        """The vision tower (LLaVA's accessor); None before `initialize_vision_modules`."""
        return getattr(self, "vision_tower", None)


class LlavaMetaForCausalLM(ViewTokens, LlavaInputs, VisionTokenizer):
    """Mixed in before a causal LM whose `model` is a `LlavaMetaModel`: images to tokens, prompts to decoder inputs."""

    def get_vision_tower(self) -> Any:
        """The vision tower (LLaVA's accessor)."""
        return self.get_model().get_vision_tower()

    def prepare_inputs(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        images: Any = None,
        image_sizes: Any = None,
        reduction: Reduction | None = None,
        trace: Trace | None = None,
        encoded: ImageTokens | None = None,
        modalities: Any = None,
        labels: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, Plan]:
        """Prompts and images to decoder inputs (B, T, D), and where everything is in them.

        Args:
            input_ids: (B, L) int64, -200 where an image goes, padded on any side.
            attention_mask: (B, L), 0 at padding.
            images, image_sizes, modalities: see `generate`.
            encoded: what `image_tokens` gave for them earlier; `images` is then not looked at, and `modalities` are one
                for each of them.
            labels: (B, L), -100 where there is no answer: a method that reads the question reads no answer.
        """
        ids = input_ids.cpu()
        mask = attention_mask.cpu() if attention_mask is not None else None
        if encoded is None:
            given = sort_images(ids, images, image_sizes, mask, modalities)
            reads = reduction is not None and reduction.question_at_encoder
            asked = self.asked_in(ids, mask, labels) if reads else None
            encoded = self.image_tokens(given.views, given.sizes, reduction, trace, given.modalities, asked)
            modalities = given.modalities
            if self.training and images is not None and not given.views:
                encoded = ImageTokens(self.unseen_tokens(reduction), [])
        features, lengths, places = encoded
        largest, rooms = self._largest(reduction, lengths, modalities), places.rooms if places is not None else ()
        plan = plan_fusion(ids, mask, lengths, max_length(self.config), largest, rooms)
        if places is not None:
            plan = replace(plan, ahead=ahead_of(plan, places, lengths, ids.numel()))
        if plan.cut is not None and not self.training:
            warn_of_cut(plan.cut)
        table = self.get_model().embed_tokens
        check_vocabulary(ids, table.num_embeddings)
        text = table(input_ids.clamp(min=0).to(device_of(table), non_blocking=True))
        embeds = fuse(text, features, plan)
        if trace is not None:
            trace.inputs_embeds, trace.layout = embeds, plan.layout
        return embeds, plan

    def _largest(self, reduction: Reduction | None, lengths: list[int], modalities: Any) -> list[int]:
        """For each image of `lengths`, what the largest picture has on entering the LLM; 0 for a video.

        A schedule for videos is made for their number of frames, whatever pictures the configuration allows.
        """
        if reduction is None or not reduction.layers or not lengths:
            return [0] * len(lengths)
        most = reduction.tokens_per_stage(self.geometry)[0]
        return [0 if kind == "video" else most for kind in modalities or ["image"] * len(lengths)]
