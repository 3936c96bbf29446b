"""vLLM's LLaVA; only what happens from the vision tower to the projector differs, and how many placeholders there are.

A request may choose another budget: `"mm_processor_kwargs": {"retain": 32}` beside its messages. It travels beside the
pixels into the prompt and to the encoder.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from vllm.config import VllmConfig
from vllm.distributed import get_tensor_model_parallel_rank, tensor_model_parallel_all_gather
from vllm.model_executor.models.llava import (
    LlavaDummyInputsBuilder,
    LlavaForConditionalGeneration,
    LlavaMultiModalProcessor,
    LlavaProcessingInfo,
)
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.inputs import MultiModalFieldConfig
from vllm.multimodal.parse import ImageEmbeddingItems
from vllm.multimodal.processing import PromptReplacement, PromptUpdate

from llava.errors import InputError, shown
from llava.reduction import Reduction
from llava.vllm.eyes import Eyes
from llava.vllm.fused import Ranks
from llava.vllm.plan import geometry_in, method_in, tokens_of

RETAIN = "retain"
AS_CONFIGURED = 0  # in place of a budget


class ReducedInfo(LlavaProcessingInfo):
    """How many placeholders an image takes where its request says nothing."""

    def get_num_image_tokens(self, *, image_width: int, image_height: int) -> int:
        """Of a picture of any size."""
        return self.tokens(AS_CONFIGURED)

    def tokens(self, retain: int) -> int:
        """Of a picture with that budget."""
        config = self.get_hf_config()
        return tokens_of(method_in(config, retain or None), config)


class ReducedProcessor(LlavaMultiModalProcessor):
    """Carries a request's budget beside its pixels."""

    def apply(self, inputs: Any, timing_ctx: Any) -> Any:
        """vLLM's call; what a request says besides a budget must be known to the image processor."""
        scopes = self.info.supported_mm_processor_kwargs
        known = {RETAIN, *scopes, *(name for names in scopes.values() for name in names)}
        foreign = sorted(set(inputs.hf_processor_mm_kwargs) - known)
        if foreign:
            raise InputError(
                f"mm_processor_kwargs of this model are {RETAIN} and those of its image processor: got "
                f"{shown(foreign[0])}; leave it out"
            )
        self._budget(inputs.hf_processor_mm_kwargs)
        return super().apply(inputs, timing_ctx)

    def _budget(self, hf_kwargs: Mapping[str, object]) -> int:
        """The request's budget, checked, or `AS_CONFIGURED`."""
        retain = self.info.ctx.get_merged_mm_kwargs(hf_kwargs).get(RETAIN)
        if retain is None:
            return AS_CONFIGURED
        method_in(self.info.get_hf_config(), retain)
        return retain

    def _call_hf_processor(self, hf_data: Mapping[str, object], hf_kwargs: Mapping[str, object]) -> Any:
        return super()._call_hf_processor(hf_data, {k: v for k, v in hf_kwargs.items() if k != RETAIN})

    def _postprocess_hf_mm_data(
        self, mm_inputs: Any, hf_processor_mm_kwargs: Mapping[str, object], processed_data: Any
    ) -> Any:
        if "pixel_values" in processed_data:
            count = len(processed_data["pixel_values"])
            processed_data[RETAIN] = torch.full((count,), self._budget(hf_processor_mm_kwargs))
        return processed_data

    def _get_mm_fields_config(self, hf_inputs: Any, hf_processor_mm_kwargs: Mapping[str, object]) -> Any:
        known = super()._get_mm_fields_config(hf_inputs, hf_processor_mm_kwargs)
        return {**known, RETAIN: MultiModalFieldConfig.batched("image", keep_on_cpu=True)}

    def _get_prompt_updates(
        self, mm_items: Any, hf_processor_mm_kwargs: Mapping[str, object], out_mm_kwargs: Any
    ) -> Sequence[PromptUpdate]:
        token = self.info.get_hf_config().image_token_index

        def placeholders(number: int) -> list[int]:
            images = mm_items["image"]
            if isinstance(images, ImageEmbeddingItems):
                return [token] * images.get_feature_size(number)
            return [token] * self.info.tokens(int(out_mm_kwargs["image"][number][RETAIN].data))

        return [PromptReplacement(modality="image", target=[token], replacement=placeholders)]


@MULTIMODAL_REGISTRY.register_processor(ReducedProcessor, info=ReducedInfo, dummy_inputs=LlavaDummyInputsBuilder)
class ReducedLlava(LlavaForConditionalGeneration):
    """LLaVA-1.5 whose pictures of one budget are encoded together."""

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        geometry, tower = geometry_in(self.config), self.vision_tower.vision_model
        size = tower.encoder.layers[0].self_attn.tp_size
        ranks = Ranks(size, get_tensor_model_parallel_rank() if size > 1 else 0, tensor_model_parallel_all_gather)
        self._eyes = Eyes(tower, self.multi_modal_projector, geometry.side, geometry.cls_patch, ranks)
        self._methods: dict[int, Reduction] = {}

    def _method(self, retain: int) -> Reduction:
        if retain not in self._methods:
            self._methods[retain] = method_in(self.config, retain or None)
        return self._methods[retain]

    def embed_multimodal(self, **kwargs: Any) -> Any:
        """vLLM's call: the tokens of each picture, (kept, D of the LLM)."""
        budgets, pixels = kwargs.pop(RETAIN, None), kwargs.get("pixel_values")
        if budgets is None or pixels is None:
            return super().embed_multimodal(**kwargs)
        chosen = budgets.flatten().tolist()  # it stays on the CPU
        found: list[Any] = [None] * len(chosen)
        for retain in sorted(set(chosen)):
            places = [place for place, own in enumerate(chosen) if own == retain]
            tokens = self._eyes.tokens(pixels if len(places) == len(chosen) else pixels[places], self._method(retain))
            for place, own in zip(places, tokens):
                found[place] = own
        return found
