"""`generate` for prompts with images, on transformers' own generation: sampling, beams, streamers, caches."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from transformers import LogitsProcessorList

from llava.constants import IMAGE_TOKEN_INDEX
from llava.errors import InputError
from llava.model.cache.staged_cache import StagedCache
from llava.model.generation.finite import FiniteLogits, refuse_nonfinite, rows_without_numbers
from llava.model.generation.settings import checked_settings, guided, value_of
from llava.model.layout import Layout
from llava.model.llava_forward import LlavaForward, check_cache, check_text
from llava.model.realign import realign
from llava.model.trace import Trace
from llava.reduction import Reduction


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
        reduction: Reduction | None = None,
        trace: Trace | None = None,
        input_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Answer prompts about images.

        Args:
            inputs: (B, L) int64, -200 where an image goes; from `llava.mm_utils.tokenizer_image_token`.
            images: pixels in the order of the -200s: (I, 3, h, w), (I, v, 3, h, w) with v views each, or a list of
                (3, h, w) or (v, 3, h, w); None in a list is passed over, and so is the image of a prompt without -200
                where there is one image per prompt.
            image_sizes: (width, height) of each picture in pixels; needed for LLaVA-NeXT.
            attention_mask: (B, L), 0 at padding, on any side; None: no padding.
            past_key_values: the cache of an earlier call with `return_dict_in_generate=True`; `inputs` is then the
                whole conversation, of which only the new tokens are run. `attention_mask` must be 0 at what a row that
                finished early was filled up with. A new image is taken only by methods that drop nothing in the LLM.
            reduction: the method of this call; None: the model's.
            trace: filled in with what was kept, where given.
            input_ids: the same as `inputs`, by transformers' name.
            inputs_embeds: (B, L, D) instead of ids, text in which nothing is dropped.
            kwargs: transformers' generation arguments.

        Returns:
            The new tokens only, (B, new) int64, or transformers' output object with them as `sequences`.
        """
        refuse_prompt_learning(self)
        ids = one_prompt(inputs, input_ids, inputs_embeds)
        method = self.method_of(reduction)
        cache = past_key_values if past_key_values is not None else StagedCache(self.config)
        kwargs.pop("position_ids", None)  # they are numbered anew around images, as LLaVA does
        if inputs_embeds is not None:
            check_text(None, inputs_embeds, images, reduction)
            return self._generate_from_embeds(inputs_embeds, attention_mask, cache, method, trace, **kwargs)
        assert ids is not None
        started = check_cache(past_key_values, ids)
        if started:
            attention_mask = self._unseen(ids, attention_mask, cache)
            images, image_sizes = self._unseen_images(ids, attention_mask, images, image_sizes, method)
        kwargs = guided(kwargs, self.generation_config, last_real(ids, attention_mask))
        embeds, plan = self.prepare_inputs(ids, attention_mask, images, image_sizes, method, trace)
        cache.add_surplus(plan.surplus)
        excused = None if started else lambda: rows_without_numbers(ids, images)
        return self.generate_from(embeds, plan.layout, cache, method, trace, excused, **kwargs)

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
        **kwargs: Any,
    ) -> Any:
        """transformers' generation from decoder inputs (B, T, D) that follow what a cache holds; see `generate`.

        Args:
            excused: the rows of which no numbers could be expected; asked only if there are such rows.
        """
        kwargs = checked_settings(kwargs, self.generation_config)
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
        result = super().generate(
            inputs_embeds=whole,
            attention_mask=torch.ones(whole.shape[:2], dtype=torch.long, device=whole.device),
            layout=layout.to_tensor(),
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
        """What `forward` gets at a step of transformers' `generate`; `images` and `image_sizes` pass through."""
        shown = {name: kwargs.pop(name) for name in ("images", "image_sizes") if name in kwargs}
        inputs = super().prepare_inputs_for_generation(
            input_ids, past_key_values=past_key_values, inputs_embeds=inputs_embeds, **kwargs
        )
        inputs.pop("position_ids", None)  # the layout and the cache know them, of every stage
        if inputs.get("inputs_embeds") is None:
            inputs |= {name: value for name, value in shown.items() if value is not None}
        return inputs

    def _end_tokens(self, kwargs: dict[str, Any]) -> list[int]:
        ends = value_of("eos_token_id", kwargs, self.generation_config)
        return list(ends) if isinstance(ends, (list, tuple)) else [ends] if ends is not None else []

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
        sizes = [size for size, new in zip(image_sizes, wanted) if new] if image_sizes is not None else None
        return [image for image, new in zip(images, wanted) if new], sizes


def finished(sequences: torch.Tensor, end_tokens: list[int]) -> torch.Tensor:
    """(B, new) bool: positions after a row's first end token, which transformers fills with padding."""
    ended = torch.isin(sequences, torch.tensor(end_tokens, dtype=sequences.dtype, device=sequences.device)).long()
    return ended.cumsum(dim=1) - ended > 0


def one_prompt(
    inputs: torch.Tensor | None, input_ids: torch.Tensor | None, embeds: torch.Tensor | None
) -> torch.Tensor | None:
    """The ids of a prompt, however they are named; None: there are embeddings instead.

    Raises:
        InputError: where not exactly one of them is given.
    """
    named = {"inputs": inputs, "input_ids": input_ids, "inputs_embeds": embeds}
    given = [name for name, value in named.items() if value is not None]
    if len(given) != 1:
        raise InputError(
            f"generate needs one prompt: got {' and '.join(given) or 'none'}; give ids as inputs (or input_ids), or "
            f"inputs_embeds"
        )
    return inputs if inputs is not None else input_ids


def last_real(ids: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """(B, 1): the last token of each prompt that is no padding."""
    if mask is None:
        return ids[:, -1:]
    last = (mask.bool().to(ids.device) * torch.arange(1, ids.shape[1] + 1, device=ids.device)).argmax(dim=1)
    return ids.gather(1, last[:, None])


def refuse_prompt_learning(model: Any) -> None:
    """Refuse PEFT's prefix and prompt tuning, which put their own prompt in place of the one with the images.

    PEFT tells the model that it generates for it by replacing one of its methods for that time.
    """
    owner = getattr(vars(model).get("prepare_inputs_for_generation"), "__self__", None)
    config = getattr(owner, "active_peft_config", None)
    if config is not None and config.is_prompt_learning:
        raise InputError(
            f"generate knows no {config.peft_type.value} of PEFT: its virtual tokens would take the place of the "
            f"prompt; use LoRA, or unload it with get_base_model()"
        )
