"""The upload files of VQAv2 and VizWiz: answers in the order of the question file, normalised as LLaVA does it."""

import json
from typing import Any

from llava.eval.benchmarks.answers import Results, warn
from llava.eval.benchmarks.vqa_text import normalise_m4c


def upload(split: list[dict[str, Any]], texts: dict[str, str], key: str) -> str:
    """The upload file: for every question its `key` and its answer, "" where there is none. No line feed at the end."""
    answers = [normalise_m4c(texts.get(str(line["question_id"]), "")) for line in split]
    return json.dumps([{key: line[key], "answer": answer} for line, answer in zip(split, answers)])


def summary(results: Results, split: list[Any]) -> str:
    """LLaVA's line about what a converter found; several answers to one question count once."""
    return f"total results: {len(results.texts)}, total split: {len(split)}, error_line: {results.error_lines}"


def warn_odd(results: Results) -> None:
    """Say which questions are answered more than once, and which answers are empty."""
    warn("questions have several answers, the last one counts", results.repeated)
    warn("answers are empty", [name for name, text in results.texts.items() if not text.strip()])
