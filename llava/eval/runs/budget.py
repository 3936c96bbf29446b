"""`--retain`: image tokens per LLM layer on average, as a number, or as a share of what a picture has."""

import argparse

from llava.errors import shown
from llava.eval.runs.command import at_least
from llava.reduction import Geometry


def budget(text: str) -> int | float:
    """An argparse type: `64`; `11.1%` comes out as 0.111, at most 1.0, and is a float whatever it is."""
    if not text.strip().endswith("%"):
        return at_least()(text)
    share = share_of(text)
    if share is None:
        raise argparse.ArgumentTypeError(
            f"must be a share above 0% and at most 100%, or a whole number of tokens: got {shown(text)}"
        )
    return share


def share_of(text: str) -> float | None:
    """A share that is written in per cent, above 0 and at most 100; None for any other text."""
    digits = text.strip().removesuffix("%").strip()
    whole, _, rest = digits.partition(".")
    plain = (whole + rest).isascii() and (whole + rest).isdecimal() and len(digits) < 20
    percent = float(digits) if plain else 0.0
    return percent / 100 if 0 < percent <= 100 else None


def in_tokens(retain: int | float, geometry: Geometry) -> int:
    """Tokens of a budget: a share is one of the most that a picture can have, one token at least."""
    return retain if isinstance(retain, int) else max(1, round(retain * geometry.most_tokens))
