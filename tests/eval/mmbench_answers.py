"""Answers to the published MMBench table, and its scorer."""

from pathlib import Path

import published
import pytest
from commands import Outcome, call

from llava.eval.benchmarks.mmbench import options_of, read_table


def answer(folder: Path, changes: dict[int, str], **extra: object) -> Path:
    """Right answers to the published table, but for `changes` by index."""
    records = []
    for row in read_table(str(folder / "mmbench_dev_20230712.tsv")).to_dict("records"):
        options = options_of(row)
        record = {"question_id": row["index"], "round_id": 0, "text": changes.get(row["index"], row["answer"])}
        records.append(record | {"options": options, "option_char": list("ABCD")[: len(options)]} | extra)
    published.lines(folder / "answers/run.jsonl", records)
    return folder / "answers/run.jsonl"


def score(folder: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    """The scorer on answers/run.jsonl."""
    flags = ["--annotation-file", folder / "mmbench_dev_20230712.tsv", "--result-file", folder / "answers/run.jsonl"]
    return call("eval_mmbench", capsys, *flags, *more)
