"""lmms-eval's `qwen2_5_vl` with a method, in its simple form; `qwen_chat_model` is its chat form.

lmms-eval's own code asks; the model that it asks recognises pictures, so that each is encoded once while it is kept.
"""

from typing import Any

import torch
from lmms_eval.models.simple.qwen2_5_vl import Qwen2_5_VL
from loguru import logger
from tqdm import tqdm

import llava.hf
from llava.constants import IGNORE_INDEX
from llava.eval.harness.likelihood import score_of
from llava.eval.harness.ratings import as_ratings
from llava.eval.harness.requests import Request
from llava.eval.harness.words import read_words
from llava.eval.runs.memory import free_bytes
from llava.hf.presets import without_preset
from llava.hf.remembering import remembering


class Reducing:
    """Mixed in before one of lmms-eval's models over a class of transformers that `llava.hf` knows."""

    def __init__(self, **given: Any) -> None:
        own, choice = read_words(given, Qwen2_5_VL)
        if not torch.cuda.is_available():  # lmms-eval's own default is a GPU
            own = {**own, "device": "cpu", "device_map": "cpu"}
        # A preset is read here, so that one that is none is refused before weights are read.
        method, retain, settings = without_preset(choice.method, choice.retain, choice.settings, Qwen2_5_VL.__name__)
        super().__init__(**own)
        reduced = llava.hf.reduce(self.model, method, retain, **settings)
        self._model = remembering(reduced, free_bytes(reduced.device) // 4)
        logger.info(f"reduced by {self._model.reduction}")

    def loglikelihood(self, requests: list[Any]) -> list[Any]:
        """The mean loss of each answer, as lmms-eval's `llava` has it, and whether it is what the model would say."""
        asked = [Request.of(instance, self.task_dict) for instance in requests]
        return as_ratings([self._rate(one) for one in tqdm(asked, disable=self.rank != 0, desc="Model Responding")])

    def _rate(self, request: Request) -> tuple[float, bool]:
        context = request.context[0] if isinstance(request.context, list) else request.context
        pictures = [{"type": "image", "image": visual} for visual in request.visuals()]
        content = [*pictures, {"type": "text", "text": context.replace("<image>", "")}]
        messages = [{"role": "system", "content": self.system_prompt}, {"role": "user", "content": content}]
        prompt = self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        answer = self.tokenizer(request.answer().lstrip(), add_special_tokens=False, return_tensors="pt").input_ids[0]
        inputs = self.processor(text=[prompt], images=request.visuals() or None, return_tensors="pt").to(self.device)
        grown = {name: _grown(inputs[name], values) for name, values in _more(answer).items() if name in inputs}
        whole, method = {**inputs, **grown}, self.model.reduction
        with torch.inference_mode():
            if method.reads_question or method.chooses_again:  # by the token before the answer, which labels show
                labels = torch.full_like(whole["input_ids"], IGNORE_INDEX)
                labels[0, -len(answer) :] = answer
                logits = self.model(**whole, labels=labels).logits
            else:
                logits = self.model.last_logits(len(answer) + 1, **whole)
        return score_of(logits[0, -len(answer) - 1 : -1], answer)


def _more(answer: torch.Tensor) -> dict[str, torch.Tensor]:
    """What an answer (n,) adds to a processor's tensors of tokens."""
    return {
        "input_ids": answer,
        "attention_mask": torch.ones_like(answer),
        "mm_token_type_ids": torch.zeros_like(answer),
    }


def _grown(row: torch.Tensor, more: torch.Tensor) -> torch.Tensor:
    """(1, L) and (n,) -> (1, L + n)."""
    return torch.cat([row, more[None].to(row)], dim=1)


class VisionDropQwen(Reducing, Qwen2_5_VL):
    """Takes all words of lmms-eval's `qwen2_5_vl`, and `method`, `retain`, `preset` and all settings of all methods."""
