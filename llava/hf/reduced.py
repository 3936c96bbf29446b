"""`reduce`: a model of the same class and interface, on the same weights, that keeps fewer image tokens."""

from typing import Any

from llava.errors import InputError
from llava.hf.cache import PromptCache
from llava.hf.cloning import clone, mixed
from llava.hf.families import Family, family_of
from llava.hf.note import Note
from llava.hf.plan import Plan
from llava.model.trace import Trace


def reduce(model: Any, method: Any, retain: float | int | None = None, **settings: Any) -> Any:
    """A reduced model.

    Args:
        model: one of transformers' vision-language models, loaded; it stays as it is. See `llava.hf.supported()`.
        method: a method's name, or whatever `llava.reduction.resolve` takes.
        retain: image tokens per LLM layer, on average: a share below 1 of each picture's own tokens, or a whole number.
        settings: of the method, instead of `retain`.

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
    kind = type(base)
    made = clone(base, mixed(Reduced, kind, kind.__name__))
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
        call, cache = self._call(trace), kwargs.get("past_key_values")
        if not self.__dict__["_plan"].reduces:
            return call.generate(*args, **kwargs)
        if cache is None and _wants_cache(self, kwargs):
            kwargs["past_key_values"] = PromptCache(self.config.get_text_config(decoder=True))
        elif cache is not None and hasattr(call.model, "rope_deltas"):
            call.model.rope_deltas = getattr(cache, "rope_deltas", None)
        return call.generate(*args, **kwargs)

    def forward(self, *args: Any, trace: Trace | None = None, **kwargs: Any) -> Any:
        """transformers' call; logits are those of the tokens of the last stage."""
        if kwargs.get("labels") is not None and self.__dict__["_plan"].reduces:
            raise InputError(
                "labels stand at tokens that a reduced model drops: got labels; train with llava.train, or the model "
                "that was given"
            )
        return self._call(trace)(*args, **kwargs)

    def _call(self, trace: Trace | None) -> Any:
        """The clones of one call: the given model's class over an inner model and a decoder that reduce."""
        own = self.__dict__
        plan: Plan = own["_plan"]
        family: Family = own["_family"]
        call = clone(self, type(own["_given"]))
        for name in ("_given", "_plan", "_family"):
            del call.__dict__[name]
        inner = clone(self.model)
        if hasattr(inner, "rope_deltas"):
            inner.rope_deltas = None
        if plan.reduces:
            note = Note(plan, self.config.image_token_id, trace=trace)
            decoder = clone(inner.language_model, mixed(family.decoder, type(inner.language_model)))
            inner = clone(inner, family.seeing(type(inner)), language_model=decoder)
            decoder.__dict__["note"] = inner.__dict__["note"] = note
        call._modules["model"] = inner
        return call


def _wants_cache(model: Any, given: dict[str, Any]) -> bool:
    """Whether a `generate` is to keep keys and values."""
    config = given.get("generation_config") or model.generation_config
    for source in (given, vars(config)):
        if source.get("use_cache") is not None:
            return bool(source["use_cache"])
    return True
