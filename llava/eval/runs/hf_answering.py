"""Questions to a model of transformers' own: prompts with their pictures, and batches of them to texts."""

from typing import Any

import torch

from llava.errors import InputError
from llava.eval.runs.answering import Answering, Item
from llava.eval.runs.inputs import PreparedQuestions
from llava.eval.runs.plan import image_key
from llava.eval.runs.questions import Question, render
from llava.model.trace import CountTrace
from llava.reduction.schedule import layers_per_stage


class HfQuestions(PreparedQuestions):
    """Questions as (ids, pixels, size): ids (L,) int64 with a placeholder for each token of the picture, pixels by the
    names that the model has for them; {} and None for a question without picture.

    Args:
        processor: `llava.hf.processing.PromptProcessor`.
    """

    def __init__(self, questions: list[Question], tokenizer: Any, processor: Any, config: Any, conv_mode: Any) -> None:
        super().__init__(questions, tokenizer, processor, config, conv_mode)
        self._last: tuple[Any, Any] = (None, None)  # the picture that was read last, which the next may be about too

    def _prepared(self, question: Question, with_picture: bool) -> Any:
        prompt = render(question.message, question.image is not None, self.conv_mode, False)
        if question.image is None:
            return self.processor.ids(prompt, []), {}, None
        key = image_key(question)
        if self._last[0] != key:
            image: Any = question.image()
            try:
                self._last = key, (self.processor.pixels([image]), image.size)
            except InputError as error:
                raise InputError(f"{error} (asked for in {question.where})") from None
        pixels, size = self._last[1]
        return self.processor.ids(prompt, self.processor.counts(pixels)), pixels, size


class HfAnswering(Answering):
    """Answers batches with `generate`; every question's picture is encoded with it."""

    @torch.inference_mode()
    def _answer_at_once(self, numbers: list[int], items: list[Item]) -> dict[int, str]:
        processor, device = self.data.processor, self.model.device
        ids, pixels = [item[0] for item in items], [item[1] for item in items]
        given = {name: value.to(device) for name, value in processor.collate(ids, pixels).items()}
        if self.seed is not None:
            torch.manual_seed(self.seed + numbers[0])
        arguments = self.generation | self.stops.arguments(self.data.tokenizer)
        trace = CountTrace()
        made = self.model.generate(**given, **arguments, trace=trace)
        self._count_tokens(numbers, ids, pixels, trace)
        texts = self.data.tokenizer.batch_decode(made[:, given["input_ids"].shape[1] :], skip_special_tokens=True)
        return {number: self.stops.cut(text) for number, text in zip(numbers, texts)}

    def _count_tokens(self, numbers: list[int], ids: list[torch.Tensor], pixels: list[Any], trace: CountTrace) -> None:
        """Image tokens that a batch was computed with; all of them where nothing reduces."""
        if trace.layout is None:
            token = self.model.config.image_token_id
            counted = {row: float((own == token).sum()) for row, own in enumerate(ids) if pixels[row]}
        else:
            layers = self.model.config.get_text_config().num_hidden_layers
            counted = trace.tokens(layers_per_stage(self.model.reduction, layers))
        self.counted |= {numbers[row]: tokens for row, tokens in counted.items()}
