"""Scores found on disk as rows: one for every model, method and budget. The paper's own numbers beside them."""

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llava.errors import InputError, shown
from llava.eval.results.scores import is_number, ratio
from llava.files.reading import read_json_object

# The order of the paper's Table 1; benchmarks that only a server scores appear when somebody enters their score.
COLUMNS = ("gqa", "mmbench", "mmbench_cn", "mme", "pope", "sqa", "vqav2", "textvqa", "vizwiz")
KEYS = ("benchmark", "metric", "score", "method", "tokens", "model", "settings")
KINDS = {"settings": dict}
UNREDUCED = "none"


@dataclass(frozen=True)
class Row:
    """Scores of one model under one method at one budget.

    Attributes:
        source: the checkpoint, or the paper a row was published in.
        method: its name.
        tokens: average image tokens per LLM layer.
        scores: by benchmark, on the papers' scale.
        relative: per cent of the unreduced run; given where a paper gives it, else computed.
        published: from a paper, not from a run.
        settings: of the method; told only where rows would look the same without.
    """

    source: str
    method: str
    tokens: float
    scores: dict[str, float] = field(default_factory=dict)
    relative: float | None = None
    published: bool = False
    settings: str = ""


def _published(method: str, tokens: int, scores: tuple[float, ...], relative: float) -> Row:
    names = ("gqa", "mmbench", "pope", "sqa", "vqav2")
    return Row("arXiv 2506.22283", method, tokens, dict(zip(names, scores)), relative, published=True)


# LLaVA-1.5-7B in VisionDrop's paper; `relative` is its average over nine benchmarks, of which these are five.
PAPER = (
    _published("none", 576, (61.92, 66.31, 86.81, 69.51, 78.53), 100.0),
    _published("visiondrop", 192, (59.99, 65.19, 87.23, 69.06, 77.28), 98.76),
    _published("pyramiddrop", 192, (57.27, 63.51, 82.40, 69.56, 75.57), 96.11),
    _published("visiondrop", 32, (52.79, 60.31, 77.19, 69.41, 68.55), 91.46),
    _published("visionzip", 32, (51.80, 58.02, 75.11, 68.72, 67.12), 89.92),
)


# LLaVA-NeXT-7B there: of 2880 tokens and of 320, the average alone is known here.
PAPER_NEXT = (
    Row("arXiv 2506.22283, NeXT", "none", 2880, {}, 100.0, published=True),
    Row("arXiv 2506.22283, NeXT", "visiondrop", 320, {}, 95.71, published=True),
)


def read_results(folder: str) -> list[Row]:
    """Rows of all records `folder/NAME/BENCHMARK.json`, unreduced runs first, then by method and falling budget.

    Raises:
        InputError: for a record that is no JSON or lacks a key, and for two records of one row and benchmark.
    """
    rows: dict[tuple[str, str, float, str], Row] = {}
    for path in sorted(Path(folder).glob("[!.]*/[!.]*.json")):
        record = _read_record(path)
        settings = " ".join(json.dumps(value, separators=(",", ":")) for value in record["settings"].values())
        look = (record["model"], record["method"], float(record["tokens"]))
        scores = rows.setdefault((*look, settings), Row(*look, settings=settings)).scores
        if record["benchmark"] in scores:
            raise InputError(
                f"a model, method and schedule has one score per benchmark: '{path}' is another "
                f"{record['benchmark']} of {look[0]}, {look[1]}, {look[2]:.1f} tokens; remove one"
            )
        scores[record["benchmark"]] = float(record["score"])
    alike = Counter(key[:3] for key in rows)
    told = [row if alike[key[:3]] > 1 else replace(row, settings="") for key, row in rows.items()]
    order = sorted(told, key=lambda row: (row.source, row.method != UNREDUCED, row.method, -row.tokens, row.settings))
    return [_with_relative(row, order) for row in order]


def _read_record(path: Path) -> dict[str, Any]:
    record = read_json_object(path, "a result", "run its script again")
    for key in KEYS:
        if key not in record:
            raise InputError(f"a result needs {', '.join(KEYS)}: '{path}' lacks {key}; run its script again")
        value = record[key]
        fits = is_number(value) if key in ("score", "tokens") else isinstance(value, KINDS.get(key, str))
        if not fits:
            raise InputError(f"{key} of a result is no such value: '{path}' has {shown(value)}; run its script again")
    return record


def _with_relative(row: Row, rows: list[Row]) -> Row:
    """The average over benchmarks of the score as per cent of the unreduced run of the same model, as in the paper."""
    whole = next((other for other in rows if other.method == UNREDUCED and other.source == row.source), None)
    shared = [name for name in row.scores if whole is not None and whole.scores.get(name)]
    if whole is None or not shared:
        return row
    relative = ratio(sum(100 * row.scores[name] / whole.scores[name] for name in shared), len(shared))
    return replace(row, relative=relative)
