"""The last line of every scorer: one JSON object for programs, after the official form for people."""

import json
from typing import Any


def print_scores(benchmark: str, metric: str, score: float, **details: Any) -> None:
    """Print a scorer's last line. `score` is what papers quote, on their scale (per cent, or MME's points)."""
    print(json.dumps({"benchmark": benchmark, "metric": metric, "score": score} | details))


def is_number(value: Any) -> bool:
    """Whether a value from a file is a number that a score can be."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def ratio(part: float, whole: float) -> float:
    """part / whole, and 0.0 where there is nothing to divide by."""
    return part / whole if whole else 0.0
