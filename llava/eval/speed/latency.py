"""One question about one picture: the time of each part under each method, its memory and its counted operations."""

from collections.abc import Callable
from typing import Any

import torch

from llava.eval.speed.clock import Work, medians, peak_bytes
from llava.eval.speed.random_model import noise, prompt_ids
from llava.model.cache.staged_cache import StagedCache
from llava.model.evidence.llama import LlamaEvidence
from llava.model.generation.static_decoder import StaticDecoder
from llava.model.language_model.llava_causal_lm import LlavaCausalLM
from llava.model.layout import Layout
from llava.model.splicing import splice
from llava.model.trace import Trace
from llava.reduction import Reduction, name_of
from llava.reduction.schedule import DecoderShape, average_tokens, prefill_flops

GREEDY: dict[str, Any] = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}


class OneQuestion:
    """A question of random tokens about a picture of noise, under one method.

    Args:
        text_tokens: prompt tokens besides the image.
        new_tokens: length of the answer.
        compiled: also time the whole with a `StaticDecoder`; each question has its own, so that none is made anew.
    """

    def __init__(
        self,
        model: LlavaCausalLM,
        method: Reduction,
        text_tokens: int,
        new_tokens: int,
        compiled: bool = False,
    ) -> None:
        self.model, self.method, self.new_tokens = model, method, new_tokens
        self.decoder = StaticDecoder(model) if compiled else None
        [self.pixels], self.sizes = noise(model)
        self.ids, self.text_tokens = prompt_ids(text_tokens, model.config.vocab_size, model.device.type), text_tokens
        self.asked = model.asked_in(self.ids.cpu(), None) if method.question_at_encoder else None
        self.trace = Trace()
        self.embeds, plan = model.prepare_inputs(self.ids, reduction=method, trace=self.trace, **self.shown)
        self.layout, self.ahead = plan.layout, plan.ahead
        model(**self.entering, trace=self.trace, use_cache=False)

    @property
    def entering(self) -> dict[str, Any]:
        """The prompt as arguments of `forward`."""
        where = {"layout": self.layout.to_tensor(), "ahead": self.ahead}
        return {"inputs_embeds": self.embeds, **where, "reduction": self.method}

    @property
    def shown(self) -> dict[str, Any]:
        """The picture as arguments of `generate`."""
        return {"images": [self.pixels], "image_sizes": self.sizes}

    def prefill(self, _: object = None) -> StagedCache:
        """The prompt through the LLM, up to the logits of its last token."""
        cache = StagedCache(self.model.config)
        self.model(**self.entering, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return cache

    def decode(self, cache: StagedCache) -> None:
        """The tokens of the answer after a prefill."""
        for _ in range(self.new_tokens):
            self.model(input_ids=self.ids[:, :1], past_key_values=cache, reduction=self.method, use_cache=True)

    def answer(self, _: object = None) -> None:
        """From pixels to the last token, as `generate` does it."""
        arguments = GREEDY | {"max_new_tokens": self.new_tokens, "reduction": self.method}
        self.model.generate(self.ids, **self.shown, **arguments)

    def first_token(self, _: object = None) -> None:
        """From pixels to the first token."""
        self.model.generate(self.ids, **self.shown, **GREEDY, max_new_tokens=1, reduction=self.method)

    def decode_compiled(self, step: Callable[[torch.Tensor], torch.Tensor] | None) -> None:
        """The tokens of the answer by the decoder's step."""
        for _ in range(self.new_tokens if step is not None else 0):
            assert step is not None
            step(self.ids[:, 0].clamp(min=0))

    def start_compiled(self) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """That step, after a prefill; None where the decoder has given up."""
        assert self.decoder is not None
        return self.decoder.start(self.prefill(), 1, self.new_tokens)

    def answer_compiled(self, _: object = None) -> None:
        """The same by `encode_image` and `ask` with a decoder."""
        self._ask_compiled(self.new_tokens)

    def first_compiled(self, _: object = None) -> None:
        """The first token of that."""
        self._ask_compiled(1)

    def _ask_compiled(self, new_tokens: int) -> None:
        prefix = self.model.encode_image(self.ids, **self.shown, reduction=self.method, decoder=self.decoder)
        self.model.ask(prefix, [self.ids], decoder=self.decoder, **GREEDY, max_new_tokens=new_tokens)

    def drops(self, _: object = None) -> None:
        """Do again, alone, what the reductions of the prefill did."""
        for number, stage in enumerate(self.trace.stages):
            positions = torch.arange(stage.before.width, device=self.model.device)[None]
            rotary = self.model.get_model().rotary_emb(stage.entering, position_ids=positions)
            layer = self.model.get_model().layers[stage.layer]
            evidence = LlamaEvidence(layer, stage.entering, stage.before, rotary, None, stage.around)
            chosen = self.method.at_layer(number, evidence)
            splice(stage.entering, Layout(stage.before.lengths, stage.before.spans), chosen)

    def works(self) -> dict[str, Work]:
        """What is timed, by the name of its column."""
        works = {
            "encoder": Work(
                lambda _: self.model.encode_views([self.pixels], self.sizes, self.method, asked=self.asked)
            ),
            "prefill": Work(self.prefill),
            "decode": Work(self.decode, self.prefill),
            "first": Work(self.first_token),
            "end_to_end": Work(self.answer),
        }
        works |= {"reduction": Work(self.drops)} if self.trace.stages else {}
        if self.decoder is not None:
            works["compiled_first"] = Work(self.first_compiled)
            works["compiled"] = Work(self.answer_compiled)
            works["compiled_decode"] = Work(self.decode_compiled, self.start_compiled)
        return works

    def row(self, times: dict[str, float]) -> dict[str, Any]:
        """A row of the table; what each entry is stands in docs/performance.md."""
        model, cache = self.model, self.prefill()
        layouts = [self.layout, *(stage.after for stage in self.trace.stages)]
        runs = [stage.stop - stage.first for stage in cache.stages]
        head = model.get_model().layers[0].self_attn.head_dim
        one = 2 * model.config.num_key_value_heads * head * self.embeds.element_size()
        shape = DecoderShape.of(model.config)
        compiled = self.decoder is not None and self.decoder.works
        return {
            "method": name_of(self.method),
            "tokens": average_tokens(self.method, model.geometry),
            "encoder_ms": 1e3 * times["encoder"],
            "prefill_ms": 1e3 * times["prefill"],
            "token_ms": 1e3 * times["decode"] / self.new_tokens,
            "reduction_ms": 1e3 * times.get("reduction", 0.0),
            "first_ms": 1e3 * times["first"],
            "end_to_end_ms": 1e3 * times["end_to_end"],
            "compiled_first_ms": 1e3 * times["compiled_first"] if compiled else None,
            "compiled_ms": 1e3 * times["compiled"] if compiled else None,
            "compiled_token_ms": 1e3 * times["compiled_decode"] / self.new_tokens if compiled else None,
            "peak_bytes": peak_bytes(self.answer, model.device.type),
            "kv_bytes": cache.nbytes(),
            "kv_bytes_by_count": one * sum(layout.width * layers for layout, layers in zip(layouts, runs)),
            "prefill_flops": prefill_flops(shape, self.method, model.geometry, self.text_tokens),
        }


def measure_latency(asked: list[OneQuestion], repeats: int, clock: str) -> list[dict[str, Any]]:
    """A row for each method; all parts of all methods are timed in turn."""
    works = {(at, name): work for at, one in enumerate(asked) for name, work in one.works().items()}
    named = {f"{at} {name}": work for (at, name), work in works.items()}
    times = medians(named, repeats, asked[0].model.device.type, clock)
    return [
        one.row({name: times[f"{at} {name}"] for number, name in works if number == at}) for at, one in enumerate(asked)
    ]
