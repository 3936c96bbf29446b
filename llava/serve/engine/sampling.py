"""Drawing the next tokens of rows that are answered together, each by its own settings and its own random numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch

from llava.reduction.sent import sent
from llava.serve.engine.request import Sampling


@dataclass(frozen=True)
class Drawn:
    """The next token of every row.

    Attributes:
        tokens: (B,) int64 on the device.
        numbers: the same on the host.
        finite: per row, whether its logits are numbers; where they are not, its token means nothing.
        logprobs: per row, the log-probability of its token; None where no row wants them.
        likeliest: per row (token, log-probability) of the likeliest tokens, as many as any row wants.
    """

    tokens: torch.Tensor
    numbers: list[int]
    finite: list[bool]
    logprobs: list[float] | None = None
    likeliest: list[list[tuple[int, float]]] | None = None


def draw(logits: torch.Tensor, settings: Sequence[Sampling], sources: Sequence[Random]) -> Drawn:
    """Draw a token for every row; the device is asked once.

    A row at temperature 0 takes its likeliest token. Another takes the token under which its random number falls on
    the scale of probabilities, likeliest first, cut at `top_p`: so its draw does not depend on the rows beside it.

    Args:
        logits: (B, V).
        sources: the random numbers of each row; one is drawn of each row that samples.
    """
    scores = logits.float()
    tokens = scores.argmax(dim=-1)
    warm = [one.temperature > 0 for one in settings]
    if any(warm):
        chance = [source.random() if hot else 0.0 for source, hot in zip(sources, warm)]
        columns = ([one.temperature or 1.0 for one in settings], [one.top_p for one in settings], chance)
        heat, top_p, point = sent(columns, scores.device, torch.float32)[..., None]
        hot_rows = sent(warm, scores.device)
        tokens = torch.where(hot_rows, _fallen(scores / heat, top_p, point), tokens)
    finite = scores.isfinite().all(dim=-1)
    packed = torch.stack([tokens, finite.long()]).tolist()
    wanted = [one.logprobs for one in settings if one.logprobs is not None]
    if not wanted:
        return Drawn(tokens, packed[0], [bool(number) for number in packed[1]])
    logs = scores.log_softmax(dim=-1)
    own = logs.gather(1, tokens[:, None])[:, 0].tolist()
    best = logs.topk(max(1, *wanted), dim=-1)
    pairs = [list(zip(ids, values)) for ids, values in zip(best.indices.tolist(), best.values.tolist())]
    return Drawn(tokens, packed[0], [bool(number) for number in packed[1]], own, pairs)


def _fallen(scores: torch.Tensor, top_p: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
    """(B,) tokens at `point` (B, 1) of the mass up to `top_p` (B, 1) of softmax(scores)."""
    falling, order = scores.softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
    before = falling.cumsum(dim=-1) - falling
    kept = falling.masked_fill(before >= top_p, 0)  # the likeliest token always stays: nothing is before it
    reached = kept.cumsum(dim=-1)
    place = (reached <= point * reached[:, -1:]).sum(dim=-1, keepdim=True)
    last = ((kept > 0).sum(dim=-1, keepdim=True) - 1).clamp(min=0)  # a row of no numbers has none
    return order.gather(1, torch.minimum(place, last))[:, 0]
