"""The engine's events as OpenAI's objects."""

import time
from dataclasses import dataclass
from typing import Any

from llava.serve.engine.request import End, Piece


@dataclass(frozen=True)
class Form:
    """What every object of one answer says: its id, its model, and the tokenizer that writes tokens out."""

    id: str
    model: str
    tokenizer: Any
    extra: dict[str, Any]

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": int(time.time()), "model": self.model}

    def chunk(self, index: int, delta: dict[str, str], piece: Piece | None = None, reason: str | None = None) -> dict:
        """`chat.completion.chunk`: more of choice `index`."""
        choice = {"index": index, "delta": delta, "logprobs": self.logprobs([piece]), "finish_reason": reason}
        return self._head("chat.completion.chunk") | {"choices": [choice]}

    def usage_chunk(self, ends: list[End]) -> dict:
        """The last chunk, where `include_usage` asks for it."""
        return self._head("chat.completion.chunk") | {"choices": [], "usage": usage(ends), **self.extra}

    def whole(self, choices: list[tuple[list[Piece], End]]) -> dict:
        """`chat.completion`: all choices."""
        told = [
            {
                "index": index,
                "message": {"role": "assistant", "content": "".join(piece.text for piece in pieces), "refusal": None},
                "logprobs": self.logprobs(pieces),
                "finish_reason": end.reason,
            }
            for index, (pieces, end) in enumerate(choices)
        ]
        head = self._head("chat.completion")
        return head | {"choices": told, "usage": usage([end for _, end in choices]), **self.extra}

    def logprobs(self, pieces: list[Piece] | list[Piece | None]) -> dict | None:
        """Log-probabilities in their form; None where there are none."""
        known = [piece for piece in pieces if piece is not None and piece.logprob is not None]
        if not known:
            return None
        content = [
            self._token(piece.token, piece.logprob) | {"top_logprobs": [self._token(*pair) for pair in piece.likeliest]}
            for piece in known
        ]
        return {"content": content, "refusal": None}

    def _token(self, token: int, logprob: float | None) -> dict[str, Any]:
        text = self.tokenizer.decode([token])
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def usage(ends: list[End]) -> dict[str, Any]:
    """Tokens that were run; the prompt is counted once, as all choices share it."""
    prompt, answer = ends[0].prompt_tokens, sum(end.answer_tokens for end in ends)
    details = {"cached_tokens": ends[0].cached_tokens, "image_tokens": ends[0].image_tokens}
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
        "prompt_tokens_details": details,
    }
