"""`generate` for prompts with images, on transformers' own generation: sampling, beams, streamers, caches."""

from typing import Any

import torch
from transformers.modeling_outputs import CausalLMOutputWithPast

from llava.constants import IMAGE_TOKEN_INDEX
from llava.errors import InputError
from llava.model.cache.staged_cache import StagedCache
from llava.model.context import new_tokens, warn_of_length
from llava.model.fusion import fuse_labels
from llava.model.geometry import geometry_of
from llava.model.image_inputs import read_sizes
from llava.model.layout import Layout
from llava.model.trace import Trace
from llava.reduction import Geometry, Method, Reduction, resolve


class LlavaGeneration:
    """Mixed in before a causal LM: its `forward` and `generate` take images. State of a request is in its cache."""

    _reduction: Reduction

    @property
    def reduction(self) -> Reduction:
        """The method used where a call names none. Assigning another takes effect with the next call."""
        return self._reduction

    @reduction.setter
    def reduction(self, method: Method) -> None:
        self._reduction = resolve(method, self.geometry)

    def method_for(self, reduction: Method, checked: bool = False) -> Reduction:
        """The method of a call: what it names (see `llava.reduction.resolve`), or the model's own where it names none.

        With `checked`, a `Reduction` is taken as it is: it was checked when its request began.
        """
        if reduction is None:
            return self._reduction
        return reduction if checked and isinstance(reduction, Reduction) else resolve(reduction, self.geometry)

    @property
    def geometry(self) -> Geometry:
        """What a method must fit into."""
        tower = self.get_vision_tower()
        return geometry_of(self.config, tower.config)

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: StagedCache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        images: Any = None,
        image_sizes: list[tuple[int, int]] | None = None,
        layout: torch.Tensor | None = None,
        reduction: Method = None,
        trace: Trace | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """One pass over prompts with images, or over new tokens of a cached request.

        Args:
            input_ids: (B, L) int64, -200 where an image goes.
            attention_mask: (B, L), 0 at padding, on any side.
            labels: (B, L) int64, -100 where there is no loss; not with a method that drops inside the LLM.
            images, image_sizes: as in `generate`.
            layout: from `Layout.to_tensor`, with `inputs_embeds` that are already fused.
            reduction: the method, or its name (see `llava.reduction.resolve`); None: the model's.

        Returns:
            logits (B, T', V) of the tokens of the last stage, padded on the left, whatever the side of the prompt's.
        """
        started = past_key_values is not None and past_key_values.get_seq_length() > 0
        method = self.method_for(reduction, checked=started or layout is not None)
        known = Layout.from_tensor(layout) if layout is not None and inputs_embeds is not None else None
        if inputs_embeds is None and not started:
            inputs_embeds, plan = self.prepare_inputs(input_ids, attention_mask, images, image_sizes, method, trace)
            known, input_ids = plan.layout, None
            if labels is not None:
                labels = fuse_labels(labels, plan)
        if labels is not None and method.layers:
            raise InputError(
                f"labels need every token: got a method that drops after layers {method.layers}; train with 'none' or "
                f"a method of the encoder"
            )
        outputs = self.model(
            input_ids=input_ids,
            inputs_embeds=inputs_embeds,
            past_key_values=past_key_values,
            use_cache=use_cache,
            layout=known,
            reduction=method,
            trace=trace,
            **kwargs,
        )
        wanted = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        result = CausalLMOutputWithPast(logits=self.lm_head(outputs.last_hidden_state[:, wanted]))
        if labels is not None:
            result.loss = self.loss_function(result.logits, labels, vocab_size=self.config.vocab_size)
        for name in ("past_key_values", "hidden_states", "attentions"):
            result[name] = getattr(outputs, name)
        return result

    @torch.no_grad()
    def generate(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        images: Any = None,
        image_sizes: list[tuple[int, int]] | None = None,
        past_key_values: StagedCache | None = None,
        reduction: Method = None,
        trace: Trace | None = None,
        **kwargs: Any,
    ) -> Any:
        """Answer prompts about images.

        Args:
            input_ids: (B, L) int64, -200 where an image goes; from `llava.mm_utils.tokenizer_image_token`.
            attention_mask: (B, L), 0 at padding, on any side; None: no padding.
            images: pixels in the order of the -200s: (I, 3, h, w), (I, v, 3, h, w) with v views each, or a list of
                (3, h, w) or (v, 3, h, w); None in a list is passed over, and so are the fillers that LLaVA gives
                prompts without -200.
            image_sizes: (width, height) of each picture in pixels; needed for LLaVA-NeXT.
            past_key_values: the cache of an earlier call with `return_dict_in_generate=True`; `input_ids` is then the
                whole conversation, of which only the new tokens are run. `attention_mask` must be 0 at what a row that
                finished early was filled up with. A new image is taken only by methods that drop nothing in the LLM.
            reduction: the method of this call, or its name (see `llava.reduction.resolve`); None: the model's.
            trace: filled in with what was kept, where given.
            kwargs: transformers' generation arguments.

        Returns:
            The new tokens only, (B, new) int64, or transformers' output object with them as `sequences`.
        """
        method = self.method_for(reduction)
        if past_key_values is not None and not isinstance(past_key_values, StagedCache):
            raise InputError(
                f"past_key_values must come from an earlier generate of a LLaVA model: got a "
                f"{type(past_key_values).__name__}, expected a StagedCache; leave it out to start anew"
            )
        cache = past_key_values if past_key_values is not None else StagedCache(self.config)
        if cache.stages:
            attention_mask = self._unseen(input_ids, attention_mask, cache)
            images, image_sizes = self._unseen_images(input_ids, attention_mask, images, image_sizes, method)
        embeds, plan = self.prepare_inputs(input_ids, attention_mask, images, image_sizes, method, trace)
        cache.add_surplus(plan.surplus)
        return self.generate_from(embeds, plan.layout, cache, method, trace, **kwargs)

    def generate_from(
        self,
        embeds: torch.Tensor,
        layout: Layout,
        cache: StagedCache,
        method: Reduction,
        trace: Trace | None = None,
        **kwargs: Any,
    ) -> Any:
        """transformers' generation from decoder inputs (B, T, D) that follow what a cache holds; see `generate`."""
        config = kwargs.get("generation_config") or self.generation_config
        warn_of_length(cache.get_seq_length() + layout.width, new_tokens(config, kwargs), self.config)
        if cache.stages:
            copies = [kwargs.get(name) or getattr(config, name) or 1 for name in ("num_beams", "num_return_sequences")]
            if max(copies) > 1:  # transformers repeats the rows of tensors, not those of a cache it is given
                cache.batch_repeat_interleave(max(copies))
        # transformers cuts off as many leading embeddings as the cache holds.
        seen = embeds.new_zeros(len(embeds), cache.get_seq_length(), embeds.shape[2])
        whole = torch.cat([seen, embeds], dim=1)
        result = super().generate(
            inputs_embeds=whole,
            attention_mask=torch.ones(whole.shape[:2], dtype=torch.long, device=whole.device),
            layout=layout.to_tensor(),
            past_key_values=cache,
            reduction=method,
            trace=trace,
            **kwargs,
        )
        if not isinstance(result, torch.Tensor) and len(result.sequences) == len(embeds):
            cache.mark_unused(finished(result.sequences, self._end_tokens(kwargs)))
        return result

    def _end_tokens(self, kwargs: dict[str, Any]) -> list[int]:
        config = kwargs.get("generation_config") or self.generation_config
        ends = kwargs.get("eos_token_id", config.eos_token_id)
        return ends if isinstance(ends, list) else [ends] if ends is not None else []

    def _unseen(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, cache: StagedCache) -> torch.Tensor:
        """(B, L) bool: the real tokens of a conversation that a cache does not hold yet."""
        real = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
        cached = cache.real_tokens(len(input_ids)) - torch.tensor(cache.surplus)
        return real & (real.cumsum(dim=1) > cached.to(real.device)[:, None])

    def _unseen_images(
        self, input_ids: torch.Tensor, unseen: torch.Tensor, images: Any, image_sizes: Any, method: Reduction
    ) -> tuple[Any, Any]:
        """The images of the new tokens, where those of the whole conversation are given."""
        is_image = input_ids == IMAGE_TOKEN_INDEX
        wanted = unseen[is_image].tolist()
        if any(wanted) and method.layers:
            raise InputError(
                f"a cached conversation takes no new image with a method that drops inside the LLM: got "
                f"{sum(wanted)} new; pass the whole conversation without past_key_values"
            )
        if images is None or len(images) != len(wanted):
            return images, image_sizes
        named = read_sizes(image_sizes, list(images)) if image_sizes is not None else None
        sizes = [size for size, new in zip(named, wanted) if new] if named is not None else None
        return [image for image, new in zip(images, wanted) if new], sizes


def finished(sequences: torch.Tensor, end_tokens: list[int]) -> torch.Tensor:
    """(B, new) bool: positions after a row's first end token, which transformers fills with padding."""
    ended = torch.isin(sequences, torch.tensor(end_tokens, dtype=sequences.dtype, device=sequences.device)).long()
    return ended.cumsum(dim=1) - ended > 0
