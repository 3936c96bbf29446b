"""Questions to a model of transformers' own: prompts with their pictures, and batches of them to texts."""

from collections.abc import Hashable
from typing import Any

import torch

from llava.errors import InputError
from llava.eval.runs.answering import Answering, Item
from llava.eval.runs.inputs import PreparedQuestions
from llava.eval.runs.questions import render
from llava.model.trace import CountTrace
from llava.reduction.schedule import layers_per_stage


class HfQuestions(PreparedQuestions):
    """Questions as (ids, pixels, size): ids (L,) int64 with one placeholder for the picture, pixels by the names that
    the model has for them; both others None for a question without picture, or one whose picture is not asked for.

    Args:
        processor: `llava.hf.processing.PromptProcessor`.
    """

    def _prepared(self, question: Any, with_picture: bool) -> Any:
        shown = question.image is not None
        ids = self.processor.compact(render(question.message, shown, self.conv_mode, False), int(shown))
        if not shown or not with_picture:
            return ids, None, None
        image = question.image()
        try:
            return ids, self.processor.pixels([image]), image.size
        except InputError as error:
            raise InputError(f"{error} (asked for in {question.where})") from None


class HfAnswering(Answering):
    """Answers batches with `ask`: a picture is encoded once for all questions about it, as long as it is kept.

    For methods that do not read the question the LLM too has run over it once.
    """

    @torch.inference_mode()
    def _answer_at_once(self, numbers: list[int], items: list[Item]) -> dict[int, str]:
        prefixes = self._prefixes(numbers, items)
        if self.seed is not None:
            torch.manual_seed(self.seed + numbers[0])
        arguments = self.generation | self.stops.arguments(self.data.tokenizer)
        questions, trace = [ids[self._end(ids) :] for ids, _, _ in items], CountTrace()
        made = self.model.ask(prefixes, questions, trace=trace, **arguments)
        counted = {row: own.tokens_per_layer for row, own in enumerate(prefixes) if own is not None}
        if any(tokens is None for tokens in counted.values()):
            layers = self.model.config.get_text_config().num_hidden_layers
            counted = dict(trace.tokens(layers_per_stage(self.model.reduction, layers)))
        self.counted |= {numbers[row]: tokens for row, tokens in counted.items()}
        texts = self.data.tokenizer.batch_decode(made, skip_special_tokens=True)
        return {number: self.stops.cut(text) for number, text in zip(numbers, texts)}

    def _encoded(self, items: list[Item], asked: list[str]) -> list[Any]:
        """Prefixes of pictures that are encoded together."""
        processor: Any = self.data.processor
        prompts = []
        for ids, pixels, _ in items:
            whole = processor.spread(ids[: self._end(ids)], processor.counts(pixels))
            prompts.append(processor.collate([whole], [pixels]))
        return self.model.encode_images(prompts)

    def _prefix_key(self, number: int, ids: torch.Tensor) -> Hashable:
        """A prefix is of a picture and of the text before it."""
        key = self.keys[number]
        return None if key is None else (key, tuple(ids[: self._end(ids)].tolist()))

    def _end(self, ids: torch.Tensor) -> int:
        """How many ids there are up to and with the picture's."""
        places = (ids == self.data.processor.placeholder).nonzero()
        return int(places.max()) + 1 if len(places) else 0
