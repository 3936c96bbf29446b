"""Where an answer ends: at an end token, or at the end mark of its conversation template, however that is spelt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import StoppingCriteria

from llava.reduction.sent import sent

LOOKED_AT = 16  # tokens before the newest that may hold the rest of a mark, besides one for each of its bytes


@dataclass(frozen=True)
class Stops:
    """What ends an answer.

    Attributes:
        ids: end tokens: the checkpoint's, and the template's end mark where that is a token.
        texts: end marks; an answer is cut before the first of them.
        spelt: those of `texts` that can come as several tokens, so that only the text shows them.
    """

    ids: tuple[int, ...]
    texts: tuple[str, ...] = ()
    spelt: tuple[str, ...] = ()

    def cut(self, text: str) -> str:
        """An answer before its end mark, without outer white space."""
        text = text.strip()
        found = [at for at in (text.find(mark) for mark in self.texts) if at >= 0]
        return text[: min(found)].strip() if found else text

    def arguments(self, tokenizer: Any) -> dict[str, Any]:
        """What `generate` has to be told to stop there by itself; a new one for every call."""
        criteria = [SpeltMarks(self.spelt, tokenizer)] if self.spelt else []
        return {"eos_token_id": list(self.ids) or None, "stop_strings": None, "stopping_criteria": criteria}


def stops_of(end_mark: str, tokenizer: Any, generation_config: Any) -> Stops:
    """Where answers end under a template, with a checkpoint.

    Args:
        end_mark: `Conversation.end_mark`.
        generation_config: the checkpoint's; its `eos_token_id` and `stop_strings` count, the tokenizer's end token
            where it has none.
    """
    ends, own = generation_config.eos_token_id, getattr(generation_config, "stop_strings", None)
    listed = [tokenizer.eos_token_id] if ends is None else ends if isinstance(ends, (list, tuple)) else [ends]
    marks = [end_mark, *([own] if isinstance(own, str) else own or [])]
    texts = tuple(dict.fromkeys(mark for mark in marks if mark))
    known = {mark: tokenizer.convert_tokens_to_ids(mark) for mark in texts}
    tokens = {mark: id for mark, id in known.items() if id is not None and id != tokenizer.unk_token_id}
    whole = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
    ids = dict.fromkeys([*(int(end) for end in listed if end is not None), *tokens.values()])
    return Stops(tuple(ids), texts, tuple(mark for mark in texts if mark not in tokens or mark not in whole))


class SpeltMarks(StoppingCriteria):
    """Ends a row once an end mark stands in what it has written lately; may be asked after every few tokens only."""

    def __init__(self, marks: Sequence[str], tokenizer: Any) -> None:
        self._marks, self._tokenizer = tuple(marks), tokenizer
        self.reach = max(len(mark.encode()) for mark in marks) + LOOKED_AT

    def __call__(self, input_ids: torch.Tensor, scores: Any = None, **kwargs: Any) -> torch.BoolTensor:
        """(B,) bool, of the newest tokens (B, n) int64; more than the last `reach` of them are not read."""
        tails = self._tokenizer.batch_decode(input_ids[:, -self.reach :].tolist(), skip_special_tokens=True)
        # White space before the first word ends nothing; after it, a word stands among so many tokens.
        ended = [any(mark in tail.lstrip() for mark in self._marks) for tail in tails]
        return sent(ended, input_ids.device)  # type: ignore[return-value]
