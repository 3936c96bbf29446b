"""One image, many questions: `encode_image` once, `ask` as often as there are questions, in batches."""

from collections.abc import Sequence
from typing import Any

import torch

from llava.errors import InputError
from llava.model.greedy import Greedy, greedy_settings, greedy_tokens
from llava.model.layout import Layout
from llava.model.llava_arch import sort_images
from llava.model.parts import prefill_in_parts
from llava.model.prefix import ImagePrefix, cut_cache, question_after, split_prompt, start_cache
from llava.model.staged_cache import StagedCache
from llava.model.static_decoder import StaticDecoder
from llava.model.trace import Trace
from llava.reduction import Reduction

Ids = torch.Tensor | Sequence[int]


class LlavaSharing:
    """Mixed in before a LLaVA model. What is shared is returned and passed back, never kept on the model."""

    def encode_image(
        self,
        input_ids: torch.Tensor,
        images: Any,
        image_sizes: list[tuple[int, int]] | None = None,
        reduction: Reduction | None = None,
    ) -> ImagePrefix:
        """Do all the work on a prompt up to its last image token, to `ask` about it afterwards.

        Args:
            input_ids: (L,) or (1, L) int64, -200 where an image goes; what follows the last one is not looked at.
            images, image_sizes: as in `generate`.
            reduction: the method; None: the model's. One that reads the question shares the image's tokens only.
        """
        return self.encode_prefixes([input_ids.flatten()], images, image_sizes, reduction)[0]

    @torch.no_grad()
    def encode_prefixes(
        self,
        prompts: Sequence[Ids],
        images: Any,
        image_sizes: list[tuple[int, int]] | None = None,
        reduction: Reduction | None = None,
    ) -> list[ImagePrefix]:
        """`encode_image` for a batch of prompts, (L,) each, with images in the order of their -200s."""
        method = reduction if reduction is not None else self.reduction
        method.check(self.geometry)
        starts = [split_prompt(_listed(prompt))[0] for prompt in prompts]
        if not all(starts):
            raise InputError("encode_image needs a prompt with <image>: got one without; pass text to ask or generate")
        ids, mask = padded(starts)
        features, lengths = self.encode_images(*sort_images(ids, images, image_sizes), method)
        counts = [sum(token < 0 for token in start) for start in starts]
        per_prompt = [tuple(lengths[sum(counts[:row]) :][:count]) for row, count in enumerate(counts)]
        longest = getattr(self.config, "tokenizer_model_max_length", None)
        cut = [longest is not None and len(s) + sum(n) - len(n) >= longest for s, n in zip(starts, per_prompt)]
        pieces = [piece.clone() for piece in features.split([sum(own) for own in per_prompt])]
        if method.reads_question or any(cut):
            return [ImagePrefix(s, method, own, features=piece) for s, own, piece in zip(starts, per_prompt, pieces)]
        cache, layouts = self._run_prefixes(ids, mask, (features, lengths), method)
        stages = tuple((stage.first, stage.stop) for stage in cache.stages)
        # Images of several sizes: one that is cut off may come into the same batch, which then starts from tokens.
        keep_tokens = longest is not None and self.geometry.views > 1
        return [
            ImagePrefix(start, method, own, rows, stages, blocks, piece if keep_tokens else None)
            for start, own, piece, (rows, blocks) in zip(starts, per_prompt, pieces, cut_cache(cache, layouts))
        ]

    def _run_prefixes(
        self, ids: torch.Tensor, mask: torch.Tensor, encoded: tuple[torch.Tensor, list[int]], method: Reduction
    ) -> tuple[StagedCache, list[Layout]]:
        """The LLM over prefixes: the filled cache and the layout of each stage."""
        embeds, plan = self.prepare_inputs(ids, mask, reduction=method, encoded=encoded)
        cache, trace = StagedCache(self.config), Trace()
        self.model(
            inputs_embeds=embeds,
            past_key_values=cache,
            use_cache=True,
            layout=plan.layout,
            reduction=method,
            trace=trace,
        )
        return cache, [plan.layout, *(stage.after for stage in trace.stages)]

    @torch.no_grad()
    def ask(
        self,
        prefix: ImagePrefix | Sequence[ImagePrefix | None],
        questions: Sequence[Ids],
        decoder: StaticDecoder | None = None,
        **kwargs: Any,
    ) -> Any:
        """Answer questions about images that were encoded before, as a batch.

        Args:
            prefix: from `encode_image`: one for all questions, or one for each; None for a question without image.
                Prefixes are only read. All are of one method.
            questions: (L,) int64 each: the tokens after the last image token, or the whole prompt that begins with the
                prefix's own tokens.
            decoder: decodes greedily without launch overhead; the same tokens.
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
        asked = [question_after(own, _listed(question)) for own, question in zip(prefixes, questions)]
        settings = greedy_settings(self.generation_config, kwargs)
        if settings is None:
            if decoder is not None:
                decoder.decline("only greedy decoding is compiled")
            embeds, layout, cache, method = self._start(prefixes, asked, 0)
            return self.generate_from(embeds, layout, cache, method, **kwargs)
        # More of the longest row, where shapes are to repeat; they end with it and are cut off.
        order = sorted(range(len(asked)), key=lambda row: len(asked[row]))
        rows = order + order[-1:] * (decoder.rows(len(asked)) - len(asked) if decoder is not None else 0)
        start = self._start([prefixes[row] for row in rows], [asked[row] for row in rows], settings.max_new_tokens)
        tokens = self._greedy(*start, settings, decoder)
        back = sorted(range(len(asked)), key=lambda place: order[place])
        return tokens[torch.tensor(back, device=tokens.device)]

    def _greedy(
        self,
        embeds: torch.Tensor,
        layout: Layout,
        cache: StagedCache,
        method: Reduction,
        settings: Greedy,
        decoder: StaticDecoder | None,
    ) -> torch.Tensor:
        """(B, new) int64 tokens after decoder inputs (B, T, D) that follow what a cache holds."""

        def last_logits(inputs: torch.Tensor, where: Layout, past: StagedCache) -> torch.Tensor:
            arguments = {"past_key_values": past, "use_cache": True, "reduction": method, "logits_to_keep": 1}
            return self.forward(inputs_embeds=inputs, layout=where.to_tensor(), **arguments).logits[:, -1]

        first = prefill_in_parts(embeds, layout, cache, last_logits)
        static = decoder.start(cache, len(embeds), settings.max_new_tokens) if decoder is not None else None

        def step(tokens: torch.Tensor) -> torch.Tensor:
            return self.forward(input_ids=tokens[:, None], past_key_values=cache, use_cache=True).logits[:, -1]

        return greedy_tokens(first, static or step, settings)

    def _start(
        self, prefixes: list[ImagePrefix | None], asked: list[tuple[int, ...]], room: int
    ) -> tuple[torch.Tensor, Layout, StagedCache, Reduction]:
        """What is left to run: decoder inputs (B, T, D) after a cache, and their layout."""
        known = [prefix for prefix in prefixes if prefix is not None]
        methods = {repr(prefix.reduction): prefix.reduction for prefix in known}
        if len(methods) > 1:
            raise InputError(
                f"the prefixes of one ask must be of one method: got {' and '.join(methods)}; ask for each"
            )
        method = next(iter(methods.values()), self.reduction)
        device = self.get_model().embed_tokens.weight.device
        longest = getattr(self.config, "tokenizer_model_max_length", None)
        if any(not prefix.blocks for prefix in known):
            return self._start_from_tokens(prefixes, asked, room, method)
        if longest is not None:
            used = [prefix.lengths[0] if prefix is not None else 0 for prefix in prefixes]
            asked = [question[: longest - length] for question, length in zip(asked, used)]
        ids, _ = padded(asked)
        cache = start_cache(self.config, prefixes, max(map(len, asked)) + room)
        embeds = self.get_model().embed_tokens(ids.to(device, non_blocking=True))
        return embeds, Layout(tuple(map(len, asked))), cache, method

    def _start_from_tokens(
        self, prefixes: list[ImagePrefix | None], asked: list[tuple[int, ...]], room: int, method: Reduction
    ) -> tuple[torch.Tensor, Layout, StagedCache, Reduction]:
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
        features = torch.cat(pieces)
        lengths = [length for prefix in known for length in prefix.image_lengths]
        embeds, plan = self.prepare_inputs(ids, mask, reduction=method, encoded=(features, lengths))
        cache = StagedCache(self.config, room)
        cache.add_surplus(plan.surplus)
        return embeds, plan.layout, cache, method


def padded(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, (B, L) int64 on the CPU, rows padded on the left with zeros."""
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows])
    starts = torch.tensor([[width - len(row)] for row in rows])
    return ids, (torch.arange(width) >= starts).long()


def _listed(ids: Ids) -> Sequence[int]:
    return ids.flatten().tolist() if isinstance(ids, torch.Tensor) else ids
