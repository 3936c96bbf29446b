"""`generate` for prompts with images, on transformers' own generation: sampling, beams, streamers, caches."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from transformers import LogitsProcessorList

from llava.errors import InputError
from llava.model.cache.staged_cache import StagedCache
from llava.model.call_checks import check_cache, check_text
from llava.model.context import new_tokens, warn_of_length
from llava.model.generation.continued import finished, unseen_images, unseen_tokens
from llava.model.generation.finite import FiniteLogits, refuse_nonfinite, rows_without_numbers
from llava.model.generation.prompts import last_real, one_prompt, refuse_prompt_learning
from llava.model.generation.settings import checked_settings, guided, value_of
from llava.model.image_inputs import longest_video
from llava.model.layout import Layout
from llava.model.llava_forward import LlavaForward
from llava.model.realign import realign
from llava.model.trace import Trace
from llava.reduction import Method, Reduction


class LlavaGeneration(LlavaForward):
    """Mixed in before a causal LM: its `generate` takes images."""

    @torch.no_grad()
    def generate(
        self,
        inputs: torch.Tensor | None = None,
        images: Any = None,
        image_sizes: Any = None,
        attention_mask: torch.Tensor | None = None,
        past_key_values: StagedCache | None = None,
        reduction: Method = None,
        trace: Trace | None = None,
        input_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        modalities: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Answer prompts about images.

        Args:
            inputs: (B, L) int64, -200 where an image goes; from `llava.mm_utils.tokenizer_image_token`.
            images: pixels in the order of the -200s: (I, 3, h, w), (I, v, 3, h, w) with v views each, or a list of
                (3, h, w) or (v, 3, h, w); None in a list is passed over, and so are the fillers that LLaVA gives
                prompts without -200.
            image_sizes: (width, height) of each picture in pixels; needed for LLaVA-NeXT.
            attention_mask: (B, L), 0 at padding, on any side; None: no padding.
            past_key_values: the cache of an earlier call with `return_dict_in_generate=True`; `inputs` is then the
                whole conversation, of which only the new tokens are run. `attention_mask` must be 0 at what a row that
                finished early was filled up with. A new image is taken only by methods that drop nothing in the LLM.
            reduction: the method of this call, or its name (see `llava.reduction.resolve`); None: the model's.
            trace: filled in with what was kept, where given.
            input_ids: the same as `inputs`, by transformers' name.
            inputs_embeds: (B, L, D) instead of ids, text in which nothing is dropped.
            modalities: LLaVA-NeXT's: what each entry of `images` is, `image` where nothing is said, or `video`, whose
                views are its frames; see `llava.model.image_entries.read_modalities`.
            kwargs: transformers' generation arguments.

        Returns:
            The new tokens only, (B, new) int64, or transformers' output object with them as `sequences`.
        """
        refuse_prompt_learning(self)
        ids = one_prompt(inputs, input_ids, inputs_embeds)
        method = self.method_of(reduction, frames=longest_video(images, modalities))
        cache = past_key_values if past_key_values is not None else StagedCache(self.config)
        kwargs.pop("position_ids", None)  # they are numbered anew around images, as LLaVA does
        if inputs_embeds is not None:
            check_text(None, inputs_embeds, images, method if reduction is not None else None)
            return self._generate_from_embeds(inputs_embeds, attention_mask, cache, method, trace, **kwargs)
        assert ids is not None
        started = check_cache(past_key_values, ids)
        if started:
            real, attention_mask = attention_mask, unseen_tokens(ids, attention_mask, cache)
            images, image_sizes, modalities = unseen_images(
                ids, real, attention_mask, images, image_sizes, modalities, method
            )
        kwargs = guided(kwargs, self.generation_config, last_real(ids, attention_mask))
        embeds, plan = self.prepare_inputs(
            ids, attention_mask, images, image_sizes, method, trace, modalities=modalities
        )
        cache.add_surplus(plan.surplus)
        excused = None if started else lambda: rows_without_numbers(ids, images)
        return self.generate_from(embeds, plan.layout, cache, method, trace, excused, plan.ahead, **kwargs)

    def _generate_from_embeds(
        self,
        embeds: torch.Tensor,
        attention_mask: torch.Tensor | None,
        cache: StagedCache,
        method: Reduction,
        trace: Trace | None,
        **kwargs: Any,
    ) -> Any:
        if check_cache(cache, embeds):
            raise InputError("a cached conversation goes on with ids: got inputs_embeds; pass inputs, the whole of it")
        realigned = realign(embeds, attention_mask)
        layout = Layout((embeds.shape[1],) * len(embeds)) if realigned is None else realigned.layout
        cache.add_surplus((0,) * len(embeds))
        return self.generate_from(realigned.embeds if realigned else embeds, layout, cache, method, trace, **kwargs)

    def generate_from(
        self,
        embeds: torch.Tensor,
        layout: Layout,
        cache: StagedCache,
        method: Reduction,
        trace: Trace | None = None,
        excused: Callable[[], set[int]] | None = None,
        ahead: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """transformers' generation from decoder inputs (B, T, D) that follow what a cache holds; see `generate`.

        Args:
            excused: the rows of which no numbers could be expected; asked only if there are such rows.
            ahead: (B, T) int64, see `llava.model.places.ahead_of`; None: tokens stand where they are counted.
        """
        kwargs = checked_settings(kwargs, self.generation_config)
        config = kwargs.get("generation_config") or self.generation_config
        warn_of_length(cache.after(layout), new_tokens(config, kwargs), self.config)
        beams, samples = (
            value_of(name, kwargs, self.generation_config) or 1 for name in ("num_beams", "num_return_sequences")
        )
        copies = max(beams, samples)
        if copies > 1:  # transformers repeats the rows of tensors, not those of a cache it is given
            cache.repeat_rows(copies)
        ends = self._end_tokens(kwargs)
        finite = FiniteLogits(ends)
        processors = LogitsProcessorList([finite, *(kwargs.pop("logits_processor", None) or [])])
        # transformers cuts off as many leading embeddings as the cache holds.
        seen = embeds.new_zeros(len(embeds), cache.get_seq_length(), embeds.shape[2])
        whole = torch.cat([seen, embeds], dim=1)
        with cache.embedded_prompt(whole.shape[1]):
            result = super().generate(
                inputs_embeds=whole,
                attention_mask=torch.ones(whole.shape[:2], dtype=torch.long, device=whole.device),
                layout=layout.to_tensor(),
                ahead=ahead,
                past_key_values=cache,
                reduction=method,
                trace=trace,
                logits_processor=processors,
                **kwargs,
            )
        self._check_numbers(finite.bad_rows(copies), len(embeds), excused)
        if beams > 1:
            cache.closed_by = "beam search"
        elif not isinstance(result, torch.Tensor):
            cache.mark_unused(finished(result.sequences, ends))
        return result

    def _check_numbers(self, bad: list[int], rows: int, excused: Callable[[], set[int]] | None) -> None:
        """Refuse rows whose logits were no numbers; those of pictures that are none only where no other row is left."""
        if not bad:
            return
        known = excused() if excused is not None else set()
        refuse_nonfinite([row for row in bad if row not in known] if len(bad) < rows else bad, self.dtype)
        warnings.warn(f"pictures of rows {bad} hold NaN or infinity: their answers are empty", stacklevel=3)

    def prepare_inputs_for_generation(
        self,
        input_ids: torch.Tensor,
        past_key_values: StagedCache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """What `forward` gets at a step of transformers' `generate`; `images` and what belongs to them pass through."""
        method = kwargs.get("reduction")
        if isinstance(method, Reduction) and method.recomputes and inputs_embeds is not None:
            return self._everything_again(input_ids, inputs_embeds, kwargs)
        shown = {name: kwargs.pop(name) for name in ("images", "image_sizes", "modalities") if name in kwargs}
        inputs = super().prepare_inputs_for_generation(
            input_ids, past_key_values=past_key_values, inputs_embeds=inputs_embeds, **kwargs
        )
        inputs.pop("position_ids", None)  # the layout and the cache know them, of every stage
        if inputs.get("inputs_embeds") is None:
            inputs |= {name: value for name, value in shown.items() if value is not None}
        return inputs

    def _everything_again(self, new: torch.Tensor, embeds: torch.Tensor, kwargs: dict[str, Any]) -> dict[str, Any]:
        """What `forward` gets where there is no cache: the prompt (B, T, D) and all new tokens (B, n) after it."""
        layout, trace = kwargs["layout"].clone(), kwargs.get("trace")
        layout[:, 0] += new.shape[1]
        if new.shape[1]:
            embeds = torch.cat([embeds, self.get_input_embeddings()(new).to(embeds)], dim=1)
            trace = trace.of_later() if trace is not None else None
        given = {"inputs_embeds": embeds, "layout": layout, "trace": trace, "reduction": kwargs["reduction"]}
        return given | {"use_cache": False}

    def _end_tokens(self, kwargs: dict[str, Any]) -> list[int]:
        ends = value_of("eos_token_id", kwargs, self.generation_config)
        return list(ends) if isinstance(ends, (list, tuple)) else [ends] if ends is not None else []
