"""One image, many questions: `encode_image` once, `ask` as often as there are questions, in batches."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from llava.errors import InputError
from llava.image_config import max_length
from llava.model.cache.staged_cache import StagedCache
from llava.model.context import Cut, warn_of_cut, warn_of_length
from llava.model.devices import device_of
from llava.model.fusion import check_vocabulary
from llava.model.generation.finite import refuse_nonfinite
from llava.model.generation.greedy import Decoded, Greedy, greedy_settings, greedy_tokens
from llava.model.generation.length_buckets import prefill_in_buckets
from llava.model.generation.one_prefix import one_for_all, start_beside
from llava.model.generation.prefix import Ids, ImagePrefix, listed, padded, question_after, start_cache
from llava.model.generation.prefix_encoding import PrefixEncoding
from llava.model.generation.settings import guided
from llava.model.generation.static_decoder import StaticDecoder
from llava.model.language_model.staged_decoder import stage_bounds
from llava.model.layout import Layout
from llava.model.places import ImageTokens, Places
from llava.model.trace import Trace
from llava.reduction import Reduction, name_of
from llava.reduction.positions import KEEP
from llava.reduction.sent import sent


class Entering(NamedTuple):
    """Decoder inputs (B, T, D) that are left to run, where everything is in them, and `ahead` of their plan."""

    embeds: torch.Tensor
    layout: Layout
    ahead: torch.Tensor | None = None


class LlavaSharing(PrefixEncoding):
    """Mixed in before a LLaVA model. What is shared is returned and passed back, never kept on the model."""

    @torch.no_grad()
    def ask(
        self,
        prefix: ImagePrefix | Sequence[ImagePrefix | None],
        questions: Sequence[Ids],
        decoder: StaticDecoder | None = None,
        trace: Trace | None = None,
        **kwargs: Any,
    ) -> Any:
        """Answer questions about images that were encoded before, as a batch.

        Args:
            prefix: from `encode_image`: one for all questions, or one for each; None for a question without image.
                Prefixes are only read. All are of one method. A model loaded with the kernel `shared_prefix` decodes
                greedily about one prefix without copying it into rows.
            questions: (L,) int64 each: the tokens after the last image token, or the whole prompt that begins with the
                prefix's own tokens.
            decoder: decodes greedily without launch overhead; the same tokens.
            trace: filled in with what is reduced here, where prefixes hold the image's tokens alone; it may have a row
                more than once.
            kwargs: transformers' generation arguments. Greedy decoding runs in a loop of this package that does not
                wait for the device at every token; anything else runs in transformers' `generate`.

        Returns:
            As `generate`: the new tokens, (B, new) int64, or transformers' output object.
        """
        prefixes: list[ImagePrefix | None]
        prefixes = [prefix] * len(questions) if isinstance(prefix, ImagePrefix) else list(prefix)
        if len(prefixes) != len(questions) or not questions:
            raise InputError(
                f"ask needs a prefix for each question: got {len(prefixes)} for {len(questions)} questions"
            )
        asked = [self._question(own, question) for own, question in zip(prefixes, questions)]
        again = any(own.reduction.recomputes for own in prefixes if own is not None)
        settings = None if again else greedy_settings(self.generation_config, kwargs)
        if settings is None:
            if decoder is not None:
                decoder.decline("the method keeps no cache" if again else "only greedy decoding is compiled")
            given, cache, method = self._start(prefixes, asked, 0)
            last = sent([question[-1:] for question in asked], given.embeds.device)
            kwargs = guided(kwargs, self.generation_config, last)
            if trace is not None:
                trace.layout = given.layout
            return self.generate_from(given.embeds, given.layout, cache, method, trace, ahead=given.ahead, **kwargs)
        if decoder is None:
            return self._ask_greedily(prefixes, asked, settings, None, trace)
        with decoder.used_by(self):
            return self._ask_greedily(prefixes, asked, settings, decoder, trace)

    def _ask_greedily(
        self,
        prefixes: list[ImagePrefix | None],
        asked: list[tuple[int, ...]],
        settings: Greedy,
        decoder: StaticDecoder | None,
        trace: Trace | None,
    ) -> torch.Tensor:
        """`ask` for the tokens of greedy decoding, (B, new) int64."""
        # More of the longest row, where shapes are to repeat; they end with it and are cut off.
        order = sorted(range(len(asked)), key=lambda row: len(asked[row]))
        rows = order + order[-1:] * (decoder.rows(len(asked)) - len(asked) if decoder is not None else 0)
        compiled = decoder is not None and decoder.works  # its buffers hold whole rows
        given_rows = [prefixes[row] for row in rows], [asked[row] for row in rows]
        start = self._start(*given_rows, settings.max_new_tokens, share=not compiled)
        warn_of_length(start[1].after(start[0].layout), settings.max_new_tokens, self.config)
        if trace is not None:
            trace.layout, trace.rows = start[0].layout, rows
        decoded = self._greedy(*start, settings, decoder, trace)
        back = sent(sorted(range(len(asked)), key=lambda place: order[place]), decoded.tokens.device)
        *bad, spoilt = torch.cat([decoded.bad[back], decoded.spoilt[None]]).tolist()
        if decoder is not None and not spoilt:
            decoder.settle()
        refuse_nonfinite([row for row, is_bad in enumerate(bad) if is_bad], self.dtype)
        return decoded.tokens[back]

    @torch.no_grad()
    def prefill(
        self, prefix: Sequence[ImagePrefix | None], questions: Sequence[Ids], reduction: Reduction, keep: int = 1
    ) -> tuple[StagedCache, torch.Tensor, list[tuple[int, ...]]]:
        """The first half of `ask`, for a loop that decodes by itself.

        Args:
            prefix, questions: as in `ask`, one prefix for each question.
            reduction: the method of the prefixes; also of rows without one, so that all have its stages.
            keep: tokens at each row's end whose logits are wanted.

        Returns:
            the cache, the logits (B, V) of the last tokens, or (B, keep, V) of more than one, and per row its cached
            tokens in each stage.
        """
        if reduction.chooses_again:
            raise InputError(
                f"rows that come and go need a method that chooses once: got {name_of(reduction)} in a form that "
                f"chooses again at every token; take the form that drops once, or generate"
            )
        asked = [self._question(own, question) for own, question in zip(prefix, questions)]
        given, cache, _ = self._start(list(prefix), asked, 0)
        layout = given.layout
        if not cache.stages and not layout.spans:
            cache.open(stage_bounds(reduction.layers, len(self.get_model().layers)), reduction.positions == KEEP)
        before = [own.lengths if own is not None and own.blocks else () for own in prefix]
        trace = Trace()
        arguments = {"past_key_values": cache, "use_cache": True, "reduction": reduction, "logits_to_keep": keep}
        given_in = {"inputs_embeds": given.embeds, "layout": layout.to_tensor(), "ahead": given.ahead}
        logits = self.forward(**given_in, trace=trace, **arguments).logits
        logits = logits[:, -1] if keep == 1 else logits
        after = [layout, *(stage.after for stage in trace.stages)]
        after += [after[-1]] * (len(cache.stages) - len(after))
        lengths = [
            tuple(
                stage.lengths[row] + (before[row][number] if before[row] else 0) for number, stage in enumerate(after)
            )
            for row in range(len(asked))
        ]
        return cache, logits, lengths

    def _question(self, prefix: ImagePrefix | None, ids: Ids) -> tuple[int, ...]:
        """What is to be run after a prefix, cut off at the configuration's `tokenizer_model_max_length`."""
        question = question_after(prefix, listed(ids))
        longest, before = max_length(self.config), prefix.lengths[0] if prefix is not None and prefix.blocks else 0
        if longest is None or (prefix is not None and not prefix.blocks):
            return question
        if before + len(question) > longest:
            warn_of_cut(Cut(before + len(question), longest, question_lost=False))
        return question[: longest - before]

    def _greedy(
        self,
        given: Entering,
        cache: StagedCache,
        method: Reduction,
        settings: Greedy,
        decoder: StaticDecoder | None,
        trace: Trace | None,
    ) -> Decoded:
        """`greedy_tokens` after decoder inputs that follow what a cache holds."""

        def last_logits(inputs: torch.Tensor, where: Layout, past: StagedCache) -> torch.Tensor:
            arguments = {"past_key_values": past, "use_cache": True, "reduction": method, "logits_to_keep": 1}
            arguments |= {"ahead": given.ahead, "trace": trace}  # where there are any, all rows run at once
            return self.forward(inputs_embeds=inputs, layout=where.to_tensor(), **arguments).logits[:, -1]

        if decoder is not None:
            begun = decoder.begin(cache, given.embeds, given.layout, settings.max_new_tokens)
            if begun is not None:
                return greedy_tokens(*begun, settings)
        first = prefill_in_buckets(given.embeds, given.layout, cache, last_logits)
        static = decoder.start(cache, len(given.embeds), settings.max_new_tokens) if decoder is not None else None

        def step(tokens: torch.Tensor) -> torch.Tensor:
            return self.forward(input_ids=tokens[:, None], past_key_values=cache, use_cache=True).logits[:, -1]

        return greedy_tokens(first, static or step, settings)

    def _start(
        self, prefixes: list[ImagePrefix | None], asked: list[tuple[int, ...]], room: int, share: bool = False
    ) -> tuple[Entering, StagedCache, Reduction]:
        """What is left to run after a cache; with `share` one that may refer to a prefix instead of holding it."""
        known = [prefix for prefix in prefixes if prefix is not None]
        methods = {repr(prefix.reduction): prefix.reduction for prefix in known}
        if len(methods) > 1:
            raise InputError(
                f"the prefixes of one ask must be of one method: got {' and '.join(methods)}; ask for each"
            )
        method = next(iter(methods.values()), None) or self.method_of(None)
        device = device_of(self.get_model().embed_tokens)
        if any(not prefix.blocks for prefix in known):
            return self._start_from_tokens(prefixes, asked, room, method)
        ids, _ = padded(asked)
        check_vocabulary(ids, self.get_model().embed_tokens.num_embeddings)
        columns = max(map(len, asked)) + room
        one = one_for_all(self, prefixes, columns) if share else None
        if one is not None:
            cache = start_beside(self.config, one, len(asked), columns)
        else:
            cache = start_cache(self.config, prefixes, columns)
        embeds = self.get_model().embed_tokens(ids.to(device, non_blocking=True))
        return Entering(embeds, Layout(tuple(map(len, asked)))), cache, method

    def _start_from_tokens(
        self, prefixes: list[ImagePrefix | None], asked: list[tuple[int, ...]], room: int, method: Reduction
    ) -> tuple[Entering, StagedCache, Reduction]:
        """The same where only the image's tokens are shared: whole prompts, after an empty cache."""
        starts = [prefix.ids if prefix is not None else () for prefix in prefixes]
        ids, mask = padded([start + question for start, question in zip(starts, asked)])
        known = [prefix for prefix in prefixes if prefix is not None]
        pieces = [prefix.features for prefix in known if prefix.features is not None]
        if len(pieces) < len(known):
            raise InputError(
                f"a batch with an image that is cut off at tokenizer_model_max_length must be asked in parts: got "
                f"{len(known)} prefixes of which {len(pieces)} hold image tokens; ask about each by itself"
            )
        lengths = [length for prefix in known for length in prefix.image_lengths]
        encoded = ImageTokens(torch.cat(pieces), lengths, Places.joined([prefix.places for prefix in known]))
        kinds = [kind for prefix in known for kind in prefix.modalities or ("image",) * len(prefix.image_lengths)]
        embeds, plan = self.prepare_inputs(ids, mask, reduction=method, encoded=encoded, modalities=kinds)
        cache = StagedCache(self.config, room)
        cache.add_surplus(plan.surplus)
        return Entering(embeds, plan.layout, plan.ahead), cache, method
