"""The upload files of VQAv2 and VizWiz: answers in the order of the question file, normalised as LLaVA does it."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from llava.eval.benchmarks.vqa import Key, Results, named
from llava.eval.benchmarks.vqa_text import normalise_m4c


def upload(split: list[dict[str, Any]], texts: dict[Key, str], key: str) -> str:
    """The upload file: for every question its `key` and its answer, "" where there is none. No line feed at the end."""
    return json.dumps([{key: line[key], "answer": normalise_m4c(texts.get(line["question_id"], ""))} for line in split])


def summary(results: Results, split: list[Any]) -> str:
    """LLaVA's line about what a converter found; several answers to one question count once."""
    return f"total results: {len(results.texts)}, total split: {len(split)}, error_line: {results.error_lines}"


def warn(what: str, keys: Sequence[Key]) -> None:
    """Say on stderr how many `keys` there are that `what` names, and the first ones; nothing where there are none."""
    if keys:
        print(f"WARNING: {len(keys)} {what}: {named(keys)}", file=sys.stderr)


def warn_repeated(results: Results) -> None:
    """Say which questions are answered more than once."""
    warn("questions have several answers, the last one counts", results.repeated)
