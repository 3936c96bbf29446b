"""The question about a picture, which a method may read before the LLM: its words, and the LLM's embeddings of them."""

import functools
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from llava.constants import IGNORE_INDEX, IMAGE_TOKEN_INDEX
from llava.conversation_templates import TEMPLATES
from llava.errors import InputError
from llava.model.tokenizers.loading import load_tokenizer
from llava.reduction.sent import sent


@dataclass(frozen=True)
class Asked:
    """The prompts of a call, and which of them each picture is in.

    Attributes:
        prompts: token ids of each prompt, without padding; -200 is a picture.
        rows: the prompt of each picture.
        tokenizer: gives the LLM's tokenizer; called when a question is read.
        embed: (R, w) int64 on the CPU -> (R, w, D), the LLM's embeddings.
    """

    prompts: tuple[tuple[int, ...], ...]
    rows: tuple[int, ...]
    tokenizer: Callable[[], Any]
    embed: Callable[[torch.Tensor], torch.Tensor]

    @classmethod
    def of(
        cls,
        ids: torch.Tensor,
        mask: torch.Tensor | None,
        labels: torch.Tensor | None,
        tokenizer: Callable[[], Any],
        embed: Callable[[torch.Tensor], torch.Tensor],
    ) -> "Asked":
        """From prompts (B, L) int64 on the CPU and their mask, zero at padding.

        Args:
            labels: (B, L), in training: what is answered, and all that follows, is no question; -100 elsewhere.
        """
        real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool()
        if labels is not None:
            pictures = (ids == IMAGE_TOKEN_INDEX).flip(1).cumsum(dim=1).flip(1) > 0  # up to the last of a row
            answered = (labels.cpu() != IGNORE_INDEX) & ~pictures
            real = real & (answered.cumsum(dim=1) == 0)
        prompts = tuple(tuple(row[there].tolist()) for row, there in zip(ids, real))
        rows = tuple(row for row, prompt in enumerate(prompts) for token in prompt if token == IMAGE_TOKEN_INDEX)
        return cls(prompts, rows, tokenizer, embed)

    def questions(self, views: Sequence[int]) -> list[str]:
        """The question about each view, of pictures of so many views."""
        known = {row: self._text(row) for row in dict.fromkeys(self.rows)}
        return [known[row] for row, count in zip(self.rows, views, strict=True) for _ in range(count)]

    def words(self, views: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """(V, w, D) embeddings of the question's tokens about each view, and (V, w) bool, which are real."""
        texts = self.questions(views)
        different = list(dict.fromkeys(texts))
        rows = [self._word_ids(text) for text in different]
        widest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (widest - len(row)) for row in rows])
        embeds = self.embed(ids)
        real = sent([[True] * len(row) + [False] * (widest - len(row)) for row in rows], embeds.device)
        chosen = sent([different.index(text) for text in texts], embeds.device)
        return embeds[chosen], real[chosen]

    def _text(self, row: int) -> str:
        ids = self.prompts[row]
        last = max((at for at, token in enumerate(ids) if token == IMAGE_TOKEN_INDEX), default=-1)
        after = self.tokenizer().decode(list(ids[last + 1 :]), skip_special_tokens=False)
        question = user_words(after)
        if not question:
            raise InputError(
                "a method that reads the question needs one after the picture: got a prompt that ends without; put "
                "the question after <image>"
            )
        return question

    def _word_ids(self, text: str) -> list[int]:
        return list(self.tokenizer()(text, add_special_tokens=False).input_ids)


@functools.cache
def _marks() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What stands before an assistant's turn in the known templates, and before a user's; the longest first."""
    ends, starts = {"[/INST]"}, {"[INST]"}
    for template in TEMPLATES.values():
        if template.style not in ("LLAMA_2", "PLAIN"):
            starts.add(_mark(template.style, template.roles[0]))
            ends.add(_mark(template.style, template.roles[1]))
    return tuple(sorted(ends, key=len, reverse=True)), tuple(sorted(starts, key=len, reverse=True))


def _mark(style: str, role: str) -> str:
    """What a style writes before what a role says, without the white space behind it."""
    if style == "LLAMA_3":
        return f"<|start_header_id|>{role}<|end_header_id|>"
    return f"{role}:" if style in ("SINGLE", "TWO") else role.strip()


def user_words(text: str) -> str:
    """What the user says last in a prompt's text after its picture, without the template's marks and without blanks.

    A text without any of the known templates' marks is taken whole.
    """
    ends, starts = _marks()
    text = text.rstrip()
    closing = next((mark for mark in ends if text.endswith(mark)), "")
    text = text.removesuffix(closing)
    begins = [(text.rfind(mark), len(mark)) for mark in starts if text.rfind(mark) >= 0]
    if begins:
        at, length = max(begins)
        text = text[at + length :]
    text = text.strip()
    for mark in {template.sep.strip() for template in TEMPLATES.values()} | {"</s>"}:
        text = text.removesuffix(mark).strip()
    return text


# One for each model, gone with it; nothing is written on the model.
_given: "weakref.WeakKeyDictionary[torch.nn.Module, Any]" = weakref.WeakKeyDictionary()


def give_tokenizer(model: torch.nn.Module, tokenizer: Any) -> None:
    """Read questions to this model with this tokenizer."""
    _given[model] = tokenizer


def tokenizer_of(model: Any) -> Any:
    """The one that was given, or that of the folder the model was loaded from; InputError where there is none."""
    if model not in _given:
        path = getattr(model.config, "name_or_path", None)
        if not path:
            raise InputError(
                "a method that reads the question needs the model's tokenizer: this model comes from no folder; load "
                "it with load_pretrained_model, or use llava.model.question.give_tokenizer"
            )
        _given[model] = load_tokenizer(path)
    return _given[model]
