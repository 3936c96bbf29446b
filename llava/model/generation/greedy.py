"""Greedy decoding without waiting for the device at every token.

transformers' loop asks the device after each token whether all rows have ended. This one asks every few tokens and
throws the surplus away; the tokens are the same. It does what plain greedy decoding needs and nothing else.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from transformers import GenerationConfig

from llava.model.generation.stops import SpeltMarks
from llava.reduction.sent import sent

# Generation settings that plain greedy decoding obeys or may ignore; any other setting goes to transformers.
_PLAIN = {
    *("max_new_tokens", "max_length", "do_sample", "num_beams", "num_return_sequences", "use_cache"),
    *("pad_token_id", "bos_token_id", "eos_token_id", "temperature", "top_p", "top_k", "transformers_version"),
}
CHECK_EVERY = 4


@dataclass(frozen=True)
class Greedy:
    """How to decode: at most `max_new_tokens`; a row ends at one of `end` and is filled up with `pad`.

    It also ends within a few tokens of an end mark that only its text shows (`marks`).
    """

    max_new_tokens: int
    end: tuple[int, ...]
    pad: int
    marks: tuple[SpeltMarks, ...] = ()


def greedy_settings(config: GenerationConfig, kwargs: dict[str, Any]) -> Greedy | None:
    """Generation arguments as greedy decoding, or None where they ask for anything else (sampling, beams, scores)."""
    own = dict(kwargs)
    criteria = tuple(own.pop("stopping_criteria", None) or ())
    if not all(isinstance(one, SpeltMarks) for one in criteria):
        return None
    merged = copy.deepcopy(own.pop("generation_config", None) or config)
    if merged.update(**own):
        return None
    chosen = merged.to_diff_dict().items()
    more = [name for name, value in chosen if value not in (None, False) and name not in _PLAIN and name[0] != "_"]
    several = max(merged.num_beams or 1, merged.num_return_sequences or 1) > 1
    if more or several or merged.do_sample or merged.use_cache is False or not merged.max_new_tokens:
        return None
    end = merged.eos_token_id
    end = tuple(end) if isinstance(end, (list, tuple)) else () if end is None else (end,)
    pad = merged.pad_token_id if merged.pad_token_id is not None else next(iter(end), 0)
    return Greedy(merged.max_new_tokens, end, pad, criteria)


class Decoded(NamedTuple):
    """Answers of B rows.

    Attributes:
        tokens: (B, new) int64, as many columns as the longest answer has.
        bad: (B,) bool, True for rows that ended because their logits were not finite, whose tokens mean nothing.
        spoilt: () bool, True where some row's were not, be it after its end: what its step wrote may be no numbers.
    """

    tokens: torch.Tensor
    bad: torch.Tensor
    spoilt: torch.Tensor


def greedy_tokens(logits: torch.Tensor, step: Callable[[torch.Tensor], torch.Tensor], settings: Greedy) -> Decoded:
    """Decode from the logits (B, V) of the last prompt token.

    Args:
        step: tokens (B,) int64 -> the logits (B, V) of the next ones; writes them into a cache.
    """
    ends = sent(settings.end, logits.device, torch.long)
    ended = torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
    check_every = 1 if logits.device.type == "cpu" else CHECK_EVERY
    tokens: list[torch.Tensor] = []
    open_rows: list[torch.Tensor] = []  # (B,) each: the row had not ended before this token
    chosen: list[torch.Tensor] = []  # the greatest logits; NaN if any is, so that the choice itself finds those out
    while True:
        greatest, token = logits.max(dim=-1)
        chosen.append(greatest)
        tokens.append(token.masked_fill(ended, settings.pad))
        open_rows.append(~ended)
        if len(tokens) == settings.max_new_tokens:
            break
        if settings.end:
            ended = ended | torch.isin(tokens[-1], ends)
        if len(tokens) % check_every == 0 and (settings.end or settings.marks):
            for marks in settings.marks:
                ended = ended | marks(torch.stack(tokens[-marks.reach :], dim=1))
            if bool((ended | ~greatest.isfinite()).all()):
                break
        logits = step(tokens[-1])
    answer, finite = torch.stack(tokens, dim=1), torch.stack(chosen, dim=1).isfinite()
    counted = torch.stack(open_rows, dim=1)
    longest = int(counted.sum(dim=1).max()) if settings.end or settings.marks else answer.shape[1]
    return Decoded(answer[:, :longest], (counted & ~finite).any(dim=1), ~finite.all())
