"""`encode_image`: everything about an image that does not depend on the question, in one go."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch

from llava.errors import InputError
from llava.image_config import max_length
from llava.model.cache.staged_cache import StagedCache
from llava.model.fusion import Plan
from llava.model.generation.graphs import Graphs
from llava.model.generation.prefix import Ids, ImagePrefix, cut_cache, listed, padded, split_prompt
from llava.model.generation.static_decoder import StaticDecoder
from llava.model.image_inputs import Images, sort_images
from llava.model.layout import Layout
from llava.model.places import ImageTokens
from llava.model.question import Asked
from llava.model.trace import Trace
from llava.reduction import Method, Reduction, name_of

# More than these keep a GPU computing for longer than their kernels take to launch.
IMAGES_CAPTURED, TOKENS_CAPTURED = 4, 1024
CPU_ACTIVATIONS = 16 * 2**20  # bytes; larger tensors leave the caches, and fresh pages are fetched for each


class PrefixEncoding:
    """Mixed in before a LLaVA model, by `LlavaSharing`."""

    def encode_image(
        self,
        input_ids: torch.Tensor,
        images: Any,
        image_sizes: Any = None,
        reduction: Method = None,
        modalities: Any = None,
        decoder: StaticDecoder | None = None,
    ) -> ImagePrefix:
        """Do all the work on a prompt up to its last image token, to `ask` about it afterwards.

        Args:
            input_ids: (L,) or (1, L) int64, -200 where an image goes; what follows the last one is looked at only by a
                method that reads the question before the LLM: then the prefix is of this question alone.
            images, image_sizes, modalities: as in `generate`.
            reduction: the method, or its name (see `llava.reduction.resolve`); None: the model's. One that reads the
                question shares the image's tokens only.
            decoder: that of `ask`; on a GPU encodes what has a shape that came before without launch overhead.
        """
        return self.encode_prefixes([input_ids.flatten()], images, image_sizes, reduction, modalities, decoder)[0]

    @torch.no_grad()
    def encode_prefixes(
        self,
        prompts: Sequence[Ids],
        images: Any,
        image_sizes: Any = None,
        reduction: Method = None,
        modalities: Any = None,
        decoder: StaticDecoder | None = None,
    ) -> list[ImagePrefix]:
        """`encode_image` for a batch of prompts, (L,) each, with images in the order of their -200s."""
        starts, questions = zip(*(split_prompt(listed(prompt)) for prompt in prompts))
        if not all(starts):
            raise InputError("encode_image needs a prompt with <image>: got one without; pass text to ask or generate")
        given = sort_images(padded(starts)[0], images, image_sizes, None, modalities)
        method = self.method_of(reduction, frames=given.frames)
        counts = [sum(token < 0 for token in start) for start in starts]
        prefixes: list[ImagePrefix] = []
        most = self._prompts_at_once(len(starts), max(map(len, given.views)))
        with decoder.used_by(self) if decoder is not None else nullcontext():
            graphs = decoder.graphs if decoder is not None else None
            for first in range(0, len(starts), most):
                own = slice(sum(counts[:first]), sum(counts[: first + most]))
                part = slice(first, first + most)
                prefixes += self._encode_at_once(starts[part], questions[part], given.part(own), method, graphs)
        return prefixes

    def _prompts_at_once(self, prompts: int, views: int) -> int:
        """All of them, or on a CPU as many as leave the encoder's activations where memory is fast (and reused)."""
        tower = self.get_vision_tower()
        if tower.device.type != "cpu":
            return prompts
        widest = views * tower.passes * (tower.num_patches + 1) * tower.config.intermediate_size * tower.dtype.itemsize
        return max(1, CPU_ACTIVATIONS // widest)

    def _encode_at_once(
        self,
        starts: Sequence[tuple[int, ...]],
        questions: Sequence[tuple[int, ...]],
        given: Images,
        method: Reduction,
        graphs: Graphs | None,
    ) -> list[ImagePrefix]:
        ids, mask = padded(starts)
        asked = self._asked(starts, questions, method)
        encoded = self._image_tokens(given, method, asked, graphs)
        features, lengths, _ = encoded
        counts = [sum(token < 0 for token in start) for start in starts]
        per_prompt = [tuple(lengths[sum(counts[:row]) :][:count]) for row, count in enumerate(counts)]
        longest = max_length(self.config)
        cut = [longest is not None and len(s) + sum(n) - len(n) >= longest for s, n in zip(starts, per_prompt)]
        sums = [sum(own) for own in per_prompt]
        pieces = [piece.clone() for piece in features.split(sums)]
        places = encoded.places.split(sums, counts) if encoded.places is not None else [None] * len(starts)
        listed = given.modalities or ["image"] * len(lengths)
        kinds = [tuple(listed[sum(counts[:row]) :][:count]) for row, count in enumerate(counts)]
        if method.reads_question or any(cut):
            known = questions if method.question_at_encoder else [None] * len(starts)
            return [
                ImagePrefix(start, method, own, features=piece, question=of, modalities=kind, places=where)
                for start, own, piece, of, kind, where in zip(starts, per_prompt, pieces, known, kinds, places)
            ]
        embeds, plan = self.prepare_inputs(ids, mask, reduction=method, encoded=encoded, modalities=given.modalities)
        cache, layouts = self._run_prefixes(embeds, plan, method, graphs)
        stages = tuple((stage.first, stage.stop) for stage in cache.stages)
        # Images of several sizes: one that is cut off may come into the same batch, which then starts from tokens.
        several = self.geometry.views > 1 or max(map(len, given.views)) > 1
        keep_tokens = longest is not None and several
        return [
            ImagePrefix(
                start, method, own, rows, stages, blocks, piece if keep_tokens else None, modalities=kind, places=where
            )
            for start, own, piece, kind, where, (rows, blocks) in zip(
                starts, per_prompt, pieces, kinds, places, cut_cache(cache, layouts)
            )
        ]

    def _asked(
        self, starts: Sequence[tuple[int, ...]], questions: Sequence[tuple[int, ...]], method: Reduction
    ) -> Asked | None:
        """The questions of prompts, for a method that reads them before the LLM; InputError where there is none."""
        if not method.question_at_encoder:
            return None
        if not all(questions):
            raise InputError(
                f"{name_of(method)} reads the question before the LLM, so that no questions share anything of an "
                f"image: got a prompt that ends with <image>; give the whole prompt, or choose another method"
            )
        return self.asked_in(*padded([start + question for start, question in zip(starts, questions)]))

    def _image_tokens(
        self, given: Images, method: Reduction, asked: Asked | None, graphs: Graphs | None
    ) -> ImageTokens:
        """`image_tokens`, captured where pictures are few, of one view each, and a method asks the device nothing."""

        def work(*views: torch.Tensor) -> ImageTokens:
            return self.image_tokens(list(views), given.sizes, method, modalities=given.modalities, asked=asked)

        few = len(given.views) <= IMAGES_CAPTURED and max(map(len, given.views)) == 1
        if graphs is None or not few or not captured(method):
            return work(*given.views)
        key = ("images", repr(method), tuple(given.modalities or ()))  # sizes count where there are several views
        device = self.get_vision_tower().device
        return graphs(key, work, [view.to(device, non_blocking=True) for view in given.views])

    def _run_prefixes(
        self, embeds: torch.Tensor, plan: Plan, method: Reduction, graphs: Graphs | None
    ) -> tuple[StagedCache, list[Layout]]:
        """The LLM over prefixes (B, T, D): the filled cache and the layout of each stage."""

        def work(embeds: torch.Tensor) -> tuple[StagedCache, list[Layout]]:
            cache, trace = StagedCache(self.config), Trace()
            self.get_model()(
                inputs_embeds=embeds,
                past_key_values=cache,
                use_cache=True,
                layout=plan.layout,
                ahead=plan.ahead,
                reduction=method,
                trace=trace,
            )
            return cache, [plan.layout, *(stage.after for stage in trace.stages)]

        few = embeds.shape[0] * embeds.shape[1] <= TOKENS_CAPTURED
        if graphs is None or not few or not captured(method):
            return work(embeds)
        return graphs(("prefixes", repr(method), plan.layout), work, [embeds])


def captured(method: Reduction) -> bool:
    """True for a method whose work is the same for all pictures of one size: nothing is asked of the device."""
    asks = method.varies or method.waits or method.reads_question or method.question_at_encoder
    return not (asks or method.keeps_gaps)
