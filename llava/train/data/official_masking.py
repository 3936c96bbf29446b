"""LLaVA's own rules of targets (`--official_masking`), with the samples that they lose: they count the ids of rounds.

Each takes the ids of the whole prompt and returns which of them are supervised. Facts: LLaVA c121f04,
`llava/train/train.py`, and PyramidDrop's NeXT file for llama_3.
"""

from collections.abc import Callable

from llava.constants import IGNORE_INDEX
from llava.conversation import Conversation
from llava.train.data.rendering import Rendered

Count = Callable[[str], int]  # ids of a text, BOS counted


def round_targets(
    ids: list[int],
    rounds: list[str],
    cut: str,
    count: Count,
    first: int,
    lead: int,
    longer: int,
    later: int,
) -> tuple[list[int], int]:
    """Targets of prompts in rounds of a question and its answer.

    Args:
        rounds: the texts of the rounds; the first empty one ends them.
        cut: what separates a question from its answer.
        first: ids masked before the first round.
        lead: added to the count of a question's ids to have how many are masked.
        longer: added to the count of a round's ids.
        later: added to both from the second round on.

    Returns:
        targets, -100 where nothing is supervised, and how many ids the rounds account for.
    """
    targets = [IGNORE_INDEX] * len(ids)
    at = first
    for number, text in enumerate(rounds):
        parts = text.split(cut)
        if not text or len(parts) != 2:
            break
        more = later if number else 0
        length, masked = count(text) + longer + more, count(parts[0] + cut) + lead + more
        start = at + max(masked, 0)
        targets[start : at + length] = ids[start : at + length]
        at += length
    return targets[: len(ids)], at


def v1(ids: list[int], rendered: Rendered, conv: Conversation, count: Count, legacy: bool) -> tuple[list[int], int]:
    """Rounds end in `</s>`; the BOS of a round's count stands for it."""
    cut = f"{conv.sep}{conv.roles[1]}: "
    return round_targets(ids, rendered.text.split(conv.sep2), cut, count, 1, -2, 0, 0 if legacy else -1)


def llama_2(
    ids: list[int], rendered: Rendered, conv: Conversation, count: Count, legacy: bool
) -> tuple[list[int], int]:
    """As `v1`, cut behind `[/INST]`, whatever the tokenizer."""
    return round_targets(ids, rendered.text.split(conv.sep2), "[/INST] ", count, 1, -2, 0, 0)


def mpt(ids: list[int], rendered: Rendered, conv: Conversation, count: Count, legacy: bool) -> tuple[list[int], int]:
    """Rounds are pairs of messages; their last end mark is never counted, so most samples are lost."""
    return round_targets(ids, _pairs(rendered, conv), conv.sep + conv.roles[1], count, 0, -1, 0, int(legacy))


def llama_3(
    ids: list[int], rendered: Rendered, conv: Conversation, count: Count, legacy: bool
) -> tuple[list[int], int]:
    """As `mpt`, with the end mark counted."""
    return round_targets(ids, _pairs(rendered, conv), conv.sep + conv.roles[1], count, 0, 0, 1, -1)


def _pairs(rendered: Rendered, conv: Conversation) -> list[str]:
    parts = rendered.text.split(conv.sep)
    return [conv.sep.join(parts[:3])] + [conv.sep.join(parts[at : at + 2]) for at in range(3, len(parts), 2)]


def v0(ids: list[int], rendered: Rendered, count: Count) -> list[int]:
    """Message by message, each counted with a BOS that it does not have in the whole."""
    targets = list(ids)
    at = count(rendered.header)
    targets[:at] = [IGNORE_INDEX] * len(targets[:at])
    for speaker, text in rendered.messages:
        length = count(text)
        if speaker == 0:
            masked = slice(at + 2, at + length)
            targets[masked] = [IGNORE_INDEX] * len(targets[masked])
        at += length
    return targets


RULES = {"v1": v1, "llama_2": llama_2, "mpt": mpt, "llama_3": llama_3}
