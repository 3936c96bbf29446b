"""`reduce`: a model of the same class and interface, on the same weights, that keeps fewer image tokens."""

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from llava.errors import InputError, shown
from llava.hf.cache import PromptCache, is_filled
from llava.hf.cloning import clone, mixed, under_signature
from llava.hf.families import Family, family_of
from llava.hf.note import Note, Pictures
from llava.hf.plan import Plan
from llava.hf.prefix import ImagePrefix
from llava.hf.sharing import asked, encoded_prefixes
from llava.hf.spans import check_padding
from llava.hf.turns import of_new_turn
from llava.model.attention_kernels import runs_without_cudnn
from llava.model.trace import Trace

# Settings of `generate` that do not go with a reduced model.
REFUSED = {
    "prefill_chunk_size": "image tokens are chosen of whole prompts, which are not filled in piece by piece",
    "cache_implementation": "a reduced model has a KV cache of its own, whose layers differ in length",
    "assistant_model": "drafts are made by prompt lookup alone, since a draft model would be given all image tokens",
}


def reduce(model: Any, method: Any, retain: float | int | None = None, **settings: Any) -> Any:
    """A reduced model.

    Args:
        model: one of transformers' vision-language models, loaded; it stays as it is. See `llava.hf.supported()`.
        method: a method's name, or whatever `llava.reduction.resolve` takes.
        retain: image tokens per LLM layer, on average: a share below 1 of each picture's own tokens, or a whole number.
        settings: of the method, instead of `retain`; or `preset`, one of `llava.hf.PRESETS` (a LLaVA: `paper-64`).

    Returns:
        A model of the same class, which shares the weights. `generate` takes one argument more, `trace`
        (`llava.model.trace.Trace`), which is filled in.

    Raises:
        InputError: for another model, or a method or setting that does not fit it.

    Example: `llava.hf.reduce(model, "visiondrop", retain=0.111).generate(**processor(...), max_new_tokens=20)`.
    """
    base = model.__dict__.get("_given", model)  # of a reduced model its original is reduced
    family = family_of(base)
    plan = family.plan(base, method, retain, settings)
    kind: Any = type(base)
    made = clone(base, _reduced_class(kind))
    made.__dict__.update(_given=base, _plan=plan, _family=family)
    return made


class Reduced:
    """Mixed in before the class of the given model. Each call runs on clones of its own, which nothing else holds."""

    @property
    def reduction(self) -> Any:
        """The method."""
        return self.__dict__["_plan"].inside

    def generate(self, *args: Any, trace: Trace | None = None, **kwargs: Any) -> Any:
        """transformers' `generate`."""
        return self._generate(trace, {}, args, kwargs)

    def _generate(
        self, trace: Trace | None, pictures: dict[int, Pictures], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """The same; `pictures` were encoded before, by the id of their placeholder, and have no pixels in `kwargs`."""
        cache, ids = kwargs.get("past_key_values"), kwargs.get("input_ids", args[0] if args else None)
        call, note = self._call(trace, isinstance(cache, PromptCache))
        if note is None:
            return call.generate(*args, **kwargs)
        note.pictures, note.shared = dict(pictures), bool(pictures)
        _check_setting(self, kwargs)
        check_padding(kwargs.get("attention_mask"))
        if cache is None and _wants_cache(self, kwargs):
            kwargs["past_key_values"] = PromptCache(self.config.get_text_config(decoder=True))
        elif cache is not None and hasattr(call.model, "rope_deltas"):
            call.model.rope_deltas = getattr(cache, "rope_deltas", None)
        past = cache.get_seq_length() if cache is not None and is_filled(cache) else 0
        if past:
            kwargs = of_new_turn(call, kwargs, ids, past, self.__dict__["_plan"])
        if isinstance(ids, torch.Tensor):
            note.asked = note.prompt = ids[:, past:].cpu()  # some encode the pictures before the first call
        return call.generate(*args, **kwargs)

    @runs_without_cudnn
    def forward(self, *args: Any, trace: Trace | None = None, **kwargs: Any) -> Any:
        """transformers' call; logits are those of the tokens of the last stage, and labels follow their tokens."""
        call, note = self._call(trace, isinstance(kwargs.get("past_key_values"), PromptCache))
        if note is None or kwargs.get("labels") is None:
            return call(*args, **kwargs)
        return _with_loss(call, note, args, kwargs)

    def encode_image(self, **inputs: Any) -> ImagePrefix:
        """The part of a prompt up to its last picture, computed once, for any number of questions.

        Of a method that reads the question the pictures are encoded, and the LLM runs over them with each question.

        Args:
            inputs: what the processor gives for one prompt with its pictures, with any question behind them or none.

        Raises:
            InputError: for several prompts, or a prompt without a picture.
        """
        return self.encode_images([inputs])[0]

    def encode_images(self, prompts: Sequence[Mapping[str, Any]]) -> list[ImagePrefix]:
        """`encode_image` of several prompts, those alike as one batch."""
        return encoded_prefixes(self, self.__dict__["_plan"], prompts)

    def ask(self, prefix: ImagePrefix | Sequence[ImagePrefix | None], questions: Sequence[Any], **kwargs: Any) -> Any:
        """Answers to questions about what `encode_image` was given, as a batch.

        Args:
            prefix: from `encode_image` of this model: one for all questions, or one for each; None for a question
                without picture. They are only read.
            questions: ids (L,) of each: the tokens after the last picture's, or a whole prompt that begins as the
                prefix does.
            kwargs: of `generate`.

        Returns:
            As `generate`, without the prompts: the new tokens, (B, new) int64, or transformers' output.
        """
        return asked(self, prefix, questions, kwargs)

    def _call(self, trace: Trace | None, own_cache: bool) -> tuple[Any, Note | None]:
        """The clones of one call: the given model's class over an inner model and a decoder that reduce.

        Args:
            own_cache: the call goes on from a cache of this package, also where nothing is reduced.

        Returns:
            It, and what it knows; None where nothing is reduced.
        """
        own = self.__dict__
        plan: Plan = own["_plan"]
        family: Family = own["_family"]
        call = clone(self, type(own["_given"]))
        for name in ("_given", "_plan", "_family"):
            del call.__dict__[name]
        inner, note = clone(self.model), None
        if hasattr(inner, "rope_deltas"):
            inner.rope_deltas = None
        if plan.reduces or own_cache:
            note = Note(plan, trace=trace)
            decoder = clone(inner.language_model, mixed(family.decoder, type(inner.language_model)))
            inner = clone(inner, family.seeing(type(inner)), language_model=decoder)
            decoder.__dict__["note"] = inner.__dict__["note"] = note
        call._modules["model"] = inner
        return call, note


@functools.cache
def _reduced_class(kind: Any) -> type:
    """Under the host's signature, by which a trainer decides which columns of a data set it passes."""
    forward = under_signature(Reduced.forward, kind.forward)
    return type(kind.__name__, (Reduced, kind), {"__module__": Reduced.__module__, "forward": forward})


def _with_loss(call: Any, note: Note, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A call with labels (B, T), whose loss is that of the tokens that are left."""
    given = dict(kwargs)
    note.labels = given.pop("labels")
    as_object = given.pop("return_dict", None)
    as_object = call.config.return_dict if as_object is None else as_object
    if given.get("past_key_values") is None:
        given["use_cache"] = False  # nothing is decoded after a training step
    if given.pop("logits_to_keep", 0):
        raise InputError("a loss is of all tokens: got logits_to_keep with labels; leave one of them out")
    made = call(*args, **given, return_dict=True)
    named = inspect.signature(type(call).forward).parameters
    more = {name: value for name, value in given.items() if name not in named}
    sizes = {"vocab_size": call.config.get_text_config(decoder=True).vocab_size}
    loss = call.loss_function(logits=made.logits, labels=note.labels, **sizes, **more)
    return type(made)(loss=loss, **made) if as_object else (loss, *made.to_tuple())


def _check_setting(model: Any, given: dict[str, Any]) -> None:
    """Refuse what transformers does with a prompt or a cache that image tokens are dropped of.

    Raises:
        InputError: says which.
    """
    for name, why in REFUSED.items():
        value = given.get(name)
        value = (
            getattr(given.get("generation_config") or model.generation_config, name, None) if value is None else value
        )
        if value is not None:
            raise InputError(f"{why}: got {name} {shown(value)}; leave it out, or use the model that was given")


def _wants_cache(model: Any, given: dict[str, Any]) -> bool:
    """Whether a `generate` is to keep keys and values."""
    config = given.get("generation_config") or model.generation_config
    for source in (given, vars(config)):
        if source.get("use_cache") is not None:
            return bool(source["use_cache"])
    return True
