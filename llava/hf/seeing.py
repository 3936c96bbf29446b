"""The inner model of a call: it notes the prompt, and what the method leaves of the pictures."""

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from llava.errors import InputError
from llava.hf.cache import is_filled
from llava.hf.note import Note

PIXELS = ("pixel_values", "pixel_values_videos")
KINDS = ("image", "video")


class Seeing:
    """Mixed in before a transformers model of vision and language, the one without a head; `note` is the call's."""

    takes_videos: ClassVar[bool] = False

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """transformers' call."""
        host: Any = super().forward
        given = kwargs
        if args:
            named = inspect.signature(host).bind(*args, **kwargs).arguments
            given = {**named.pop("kwargs", {}), **named}
        note: Note = self.__dict__["note"]
        cache = given.get("past_key_values")
        encoded = given.get("mm_encoder_outputs") or {}
        seen = [kind for name, kind in zip(PIXELS, KINDS) if given.get(name) is not None]
        known = [kind for kind in KINDS if encoded.get(kind) is not None]
        if seen or known:
            self._check(given, seen, known, note, is_filled(cache))
        shared = note.shared and not is_filled(cache)
        note.prompt = given["input_ids"].cpu() if seen or known or shared else None
        if hasattr(self, "rope_deltas") and cache is not None and is_filled(cache):
            self.rope_deltas = getattr(cache, "rope_deltas", None)
        made = host(*args, **kwargs)
        if hasattr(self, "rope_deltas") and made.past_key_values is not None:
            made.past_key_values.rope_deltas = self.rope_deltas
        return made

    def deep_of(self, made: Any) -> Sequence[Sequence[torch.Tensor]]:
        """What is added to each picture's tokens after the first layers of the LLM: [layer][picture]."""
        return ()

    def _check(self, given: dict[str, Any], seen: list[str], known: list[str], note: Note, started: bool) -> None:
        """Refuse what cannot be reduced.

        Args:
            seen, known: what is there as pixels, and as what was encoded before.
        """
        if "video" in (*seen, *known) and not self.takes_videos:
            raise InputError(
                "a reduced model of this class takes pictures: got a video; pass its frames as pictures, or use the "
                "model that was given"
            )
        if given.get("input_ids") is None:
            raise InputError("a picture's tokens are found by their ids: got inputs_embeds; pass input_ids")
        if started and note.plan.inside.layers:
            raise InputError(
                "between layers image tokens are dropped in the first prefill alone: got a picture after a cache; pass "
                "the whole conversation without past_key_values, or take a method that acts before the LLM"
            )
        ids = {"image": "image_token_id", "video": "video_token_id"}
        if any(getattr(self.config, ids[kind]) not in note.pictures for kind in known):  # type: ignore[attr-defined]
            raise InputError(
                "a reduced model encodes pictures itself, since its method asks about them: got mm_encoder_outputs; "
                "pass pixel_values"
            )
