"""Requests that are being answered together: one KV cache, a row for each, all under one method."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch

from llava.model.cache.staged_cache import StagedCache
from llava.reduction.sent import sent
from llava.serve.engine.request import End, Piece, Request
from llava.serve.engine.rows import Lengths, Slots, joined, packed
from llava.serve.engine.sampling import Drawn, draw
from llava.serve.engine.text import Growing


@dataclass
class Row:
    """A request that is being answered. `usage` is its `End` without reason and answer."""

    request: Request
    text: Growing
    random: Random
    usage: End
    lengths: Lengths
    done: bool = False

    @property
    def cached(self) -> Lengths:
        """Tokens in the cache, in each stage: the newest token is not there yet."""
        return tuple(length + max(0, len(self.text.tokens) - 1) for length in self.lengths)


class Batch:
    """Rows under one method. They are added with the logits of their last prompt token.

    Args:
        model: a LLaVA model.
        ends: ids that end an answer.
    """

    def __init__(self, model: Any, ends: Sequence[int]) -> None:
        self._model, self._ends = model, frozenset(ends)
        self.rows: list[Row] = []
        self._slots: Slots | None = None
        self._newest: torch.Tensor | None = None

    def join(self, rows: list[Row], cache: StagedCache, logits: torch.Tensor) -> None:
        """Take in rows that were prefilled: their first token is drawn and said."""
        drawn = self._say(rows, logits)
        staying = [at for at, row in enumerate(rows) if not row.done]
        if not staying:
            return
        everyone = [*self.rows, *(rows[at] for at in staying)]
        slots = joined(self._slots, cache, staying, [row.cached for row in everyone])
        new = drawn.tokens[sent(staying, drawn.tokens.device)]
        self._newest = new if self._newest is None else torch.cat([self._newest, new])
        self.rows, self._slots = everyone, slots  # from here on; what fails before leaves those who were here

    def step(self) -> None:
        """One more token for every row; rows that end leave."""
        self._leave([row for row in self.rows if row.request.cancelled], "cancelled")
        if not self.rows:
            return
        assert self._newest is not None and self._slots is not None
        if self._slots.full:
            self._slots = packed([(self._slots.cache, range(len(self.rows)))], [row.cached for row in self.rows])
        cache = self._slots.cache
        logits = self._model(input_ids=self._newest[:, None], past_key_values=cache, use_cache=True).logits
        self._newest = self._say(self.rows, logits[:, -1]).tokens
        self._keep([at for at, row in enumerate(self.rows) if not row.done])

    def fail(self, error: str) -> None:
        """End every row with an error."""
        self.fail_newcomers(self.rows, error)
        self._keep([])

    def fail_newcomers(self, rows: list[Row], error: str) -> None:
        """End rows with an error that could not join."""
        for row in rows:
            _end(row, "error", error)

    def _leave(self, rows: list[Row], reason: Any) -> None:
        for row in rows:
            _end(row, reason)
        if rows:
            self._keep([at for at, row in enumerate(self.rows) if not row.done])

    def _keep(self, staying: list[int]) -> None:
        """Let all other rows go, with their part of the cache."""
        if len(staying) == len(self.rows):
            return
        if not staying:
            self.rows, self._slots, self._newest = [], None, None
            return
        assert self._slots is not None and self._newest is not None
        order = self._slots.keep(staying)
        self.rows = [self.rows[at] for at in order]
        self._newest = self._newest[sent(order, self._newest.device)]

    def _say(self, rows: list[Row], logits: torch.Tensor) -> Drawn:
        """Draw the next token of each row and tell who waits for it."""
        logits = self._unending(rows, logits)
        drawn = draw(logits, [row.request.sampling for row in rows], [row.random for row in rows])
        for at, row in enumerate(rows):
            if not drawn.finite[at]:
                _end(row, "error", "the model's numbers overflowed: its logits are not finite; use bfloat16 or float32")
                continue
            token, sampling = drawn.numbers[at], row.request.sampling
            ended = token in self._ends or token in sampling.ends
            full = len(row.text.tokens) + 1 >= sampling.max_tokens
            text = row.text.add(token, last=ended or full)
            if not ended or text:
                row.request.emit(_piece(row, text, drawn, at))
            if ended or row.text.ended:
                _end(row, "stop")
            elif full:
                _end(row, "length")
        return drawn

    def _unending(self, rows: list[Row], logits: torch.Tensor) -> torch.Tensor:
        """Logits under which no answer ends that is to go on up to its limit."""
        endless = [at for at, row in enumerate(rows) if row.request.sampling.endless]
        if endless:
            logits = logits.clone()
            for at in endless:
                ends = sorted(self._ends.union(rows[at].request.sampling.ends))
                logits[at, ends] = torch.finfo(logits.dtype).min
        return logits


def _piece(row: Row, text: str, drawn: Drawn, at: int) -> Piece:
    wanted = row.request.sampling.logprobs
    if wanted is None or drawn.logprobs is None or drawn.likeliest is None:
        return Piece(text, drawn.numbers[at])
    return Piece(text, drawn.numbers[at], drawn.logprobs[at], tuple(drawn.likeliest[at][:wanted]))


def _end(row: Row, reason: Any, error: str = "") -> None:
    """The row's last event, once."""
    if not row.done:
        row.done = True
        used = row.usage
        row.request.emit(
            End(reason, used.prompt_tokens, used.image_tokens, used.cached_tokens, len(row.text.tokens), error)
        )
