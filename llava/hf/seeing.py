"""The inner model of a call: it notes the prompt, and what the method leaves of the pictures."""

import functools
import inspect
from typing import Any

from llava.errors import InputError
from llava.hf.cache import is_filled
from llava.hf.note import Note

PIXELS = ("pixel_values", "pixel_values_videos")


class Seeing:
    """Mixed in before a transformers model of vision and language, the one without a head; `note` is the call's."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """transformers' call."""
        host: Any = super().forward
        given = inspect.signature(host).bind(*args, **kwargs).arguments
        given = {**given.pop("kwargs", {}), **given}
        note: Note = self.__dict__["note"]
        cache = given.get("past_key_values")
        encoded = given.get("mm_encoder_outputs") or {}
        _check(given, encoded, note, is_filled(cache))
        seen = given.get("pixel_values") is not None or encoded.get("image") is not None
        note.prompt = given["input_ids"].cpu() if seen else None
        if hasattr(self, "rope_deltas") and cache is not None and is_filled(cache):
            self.rope_deltas = getattr(cache, "rope_deltas", None)
        made = host(*args, **kwargs)
        if hasattr(self, "rope_deltas") and made.past_key_values is not None:
            made.past_key_values.rope_deltas = self.rope_deltas
        return made


def _check(given: dict[str, Any], encoded: dict[str, Any], note: Note, started: bool) -> None:
    """Refuse what cannot be reduced."""
    if given.get("pixel_values_videos") is not None or encoded.get("video") is not None:
        raise InputError(
            "a reduced model of transformers takes pictures: got a video; pass its frames as pictures, or use the "
            "model that was given"
        )
    seen = given.get("pixel_values") is not None or encoded.get("image") is not None
    if seen and given.get("input_ids") is None:
        raise InputError("a picture's tokens are found by their ids: got inputs_embeds; pass input_ids")
    if seen and started:
        raise InputError(
            "image tokens are dropped in the first prefill: got a picture after a cache; pass the whole conversation "
            "without past_key_values"
        )
    if encoded.get("image") is not None and note.pictures is None:
        raise InputError(
            "a reduced model encodes pictures itself, since its method asks about them: got mm_encoder_outputs; pass "
            "pixel_values"
        )


def like_host(method: Any, host: Any) -> Any:
    """`method` under the host's signature, by which `generate` decides what to pass."""
    return functools.wraps(host)(method)
