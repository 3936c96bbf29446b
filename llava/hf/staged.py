"""The decoder of a model whose positions count tokens: LLaMA's, Mistral's, Qwen2's layers under this project's loop."""

from typing import Any

import torch

from llava.errors import InputError
from llava.hf.cache import PromptCache, is_filled
from llava.hf.entry import enter
from llava.hf.note import Note
from llava.model.language_model.staged_decoder import StagedDecoder


def own_cache(cache: Any, wanted: bool, config: Any) -> PromptCache | None:
    """The cache of a call: the caller's, a new one, or none.

    Raises:
        InputError: for a cache that cannot hold layers of different length.
    """
    if cache is None:
        return PromptCache(config) if wanted else None
    if not isinstance(cache, PromptCache):
        raise InputError(
            f"a reduced model needs a KV cache whose layers may differ in length: got a {type(cache).__name__}; leave "
            f"past_key_values and cache_implementation out"
        )
    return cache


class Entering(StagedDecoder):
    """Mixed in before a transformers decoder; `note` is the call's."""

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """transformers' call; positions are counted anew where tokens were dropped, as in the original LLaVA."""
        note: Note = self.__dict__["note"]
        embeds = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        wanted = self.config.use_cache if use_cache is None else use_cache
        cache = own_cache(past_key_values, wanted, self.config)
        started = is_filled(cache)
        entered = enter(note, embeds, attention_mask, cache)
        made = super().forward(
            inputs_embeds=entered.embeds,
            past_key_values=cache,
            use_cache=wanted,
            layout=entered.layout,
            reduction=None if started else note.plan.inside,
            trace=note.trace,
            labels=entered.labels,
            **kwargs,
        )
        note.labels = made.labels
        return made
