"""A conversation with a model: pictures and turns, one KV cache over all of them. Nothing is printed or read here."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from transformers import StoppingCriteria

from llava.constants import DEFAULT_IM_END_TOKEN, DEFAULT_IM_START_TOKEN, DEFAULT_IMAGE_TOKEN
from llava.conversation import Conversation, get_conv_template
from llava.errors import InputError
from llava.eval.runs.loading import Loaded
from llava.mm_utils import process_prompt_images, tokenizer_image_token
from llava.model.trace import Trace
from llava.reduction import Reduction


@dataclass(frozen=True)
class Turn:
    """One answer.

    Attributes:
        text: without outer white space and end mark.
        complete: the model ended it or reached its length limit; False where it was stopped.
        prompt_tokens: decoder inputs that were run for it: the whole conversation, or what the cache did not hold.
        cached: the conversation before it was in the cache.
    """

    text: str
    complete: bool
    prompt_tokens: int
    cached: bool


@dataclass
class Chat:
    """What was said so far, about which pictures, and the cache of it.

    A turn runs on the cache of the one before whenever the ids of the whole conversation begin with those that are
    cached. Where they do not (text that is tokenised otherwise when it is read again, a new picture under a method
    that drops inside the LLM), the whole conversation is run again: the answer is the same either way.

    Args:
        loaded: the model with its tokenizer and image processor.
        conv_mode: a known conversation template.
        generation: arguments of `generate`, such as `do_sample`, `max_new_tokens`.
        reduction: the method; may be exchanged by `use`.
    """

    loaded: Loaded
    conv_mode: str | Conversation
    generation: dict[str, Any]
    reduction: Reduction
    trace: Trace = field(default_factory=Trace)

    def __post_init__(self) -> None:
        self.stops = self.loaded.stops(self.conv_mode)
        self.forget()

    def forget(self) -> None:
        """Start anew, without pictures."""
        self.conversation: Conversation = get_conv_template(self.conv_mode)
        self.pictures: list[Image.Image] = []
        self.pixels: list[torch.Tensor] = []
        self.modalities: list[str] = []
        self.last_message = ""
        self._fresh = 0
        self._drop_cache()

    def use(self, reduction: Reduction) -> None:
        """Go on with another method: the conversation stays, its image tokens are chosen anew."""
        reduction.check(self.loaded.model.geometry)
        self.reduction = reduction
        self._drop_cache()

    def show(self, picture: Image.Image) -> None:
        """Put a picture before the next message."""
        pictures = [*self.pictures, picture]
        pixels, modalities = process_prompt_images(pictures, self.loaded.processor, self.loaded.model.config)
        if any(old.shape != new.shape for old, new in zip(self.pixels, pixels)):
            self._drop_cache()  # a picture that was alone had tiles
        self.pictures, self.pixels, self.modalities = pictures, pixels, modalities
        self._fresh += 1

    def ask(self, message: str, streamer: Any = None, stopped: Callable[[], bool] = lambda: False) -> Turn:
        """Say something and take the answer into the conversation.

        Args:
            streamer: one of transformers', for the new tokens as they come.
            stopped: asked after every token; True ends the answer, and what is there of it stays.

        Raises:
            InputError: for a message that holds an image token; nothing has changed then.
        """
        if DEFAULT_IMAGE_TOKEN in message:
            raise InputError(f"a message must not hold {DEFAULT_IMAGE_TOKEN}: show a picture, or spell it otherwise")
        before = self.conversation.copy()
        self.conversation.append_message(self.conversation.roles[0], self._with_pictures(message))
        self.conversation.append_message(self.conversation.roles[1], None)
        try:
            turn, ids, output = self._generate(streamer, stopped)
        except BaseException:
            self.conversation = before
            self._drop_cache()
            raise
        self.conversation.messages[-1][-1] = turn.text or " "
        self._known, self._cache = torch.cat([ids, output.sequences[0].cpu()]), output.past_key_values
        self._fresh, self.last_message = 0, message
        return turn

    def _with_pictures(self, message: str) -> str:
        token = DEFAULT_IMAGE_TOKEN
        if getattr(self.loaded.model.config, "mm_use_im_start_end", False):
            token = DEFAULT_IM_START_TOKEN + token + DEFAULT_IM_END_TOKEN
        return f"{token}\n" * self._fresh + message

    @torch.inference_mode()
    def _generate(self, streamer: Any, stopped: Callable[[], bool]) -> tuple[Turn, torch.Tensor, Any]:
        model, tokenizer = self.loaded.model, self.loaded.tokenizer
        ids = tokenizer_image_token(self.conversation.get_prompt(), tokenizer, return_tensors="pt")
        # The last cached token is one that was made and has not been run: it must be said again to be in the cache.
        known = len(self._known)
        cached = 0 < known < len(ids) and torch.equal(ids[:known], self._known)
        cached = cached and not (self._fresh and self.reduction.layers) and not self.reduction.chooses_again
        if not cached:
            self._drop_cache()
        ending = self.stops.arguments(tokenizer)
        output = model.generate(
            ids[None].to(model.device),
            images=self.pixels or None,
            image_sizes=[picture.size for picture in self.pictures] or None,
            modalities=self.modalities or None,
            past_key_values=self._cache,
            reduction=self.reduction,
            trace=None if cached and not self._fresh else self.trace,
            streamer=streamer,
            return_dict_in_generate=True,
            pad_token_id=self.loaded.padding,
            **self.generation | ending | {"stopping_criteria": [_Stop(stopped), *ending["stopping_criteria"]]},
        )
        new = output.sequences[0]
        written = tokenizer.decode(new, skip_special_tokens=True).strip()
        text = self.stops.cut(written)
        ended = len(new) >= self.generation["max_new_tokens"] or int(new[-1]) in self.stops.ids or text != written
        return Turn(text, bool(ended), len(ids) - (known if cached else 0), cached), ids, output

    def _drop_cache(self) -> None:
        self._known, self._cache = torch.zeros(0, dtype=torch.long), None
        self.trace = Trace()


class _Stop(StoppingCriteria):
    """Ends every row when it is told to."""

    def __init__(self, stopped: Callable[[], bool]) -> None:
        self._stopped = stopped

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.BoolTensor:
        """(B,) bool."""
        return torch.full((len(input_ids),), self._stopped(), device=input_ids.device)  # type: ignore[return-value]
