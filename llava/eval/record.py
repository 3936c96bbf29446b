"""Keep a benchmark's score with what it was made with, where `llava.eval.report` finds it.

    python -m llava.eval.record --scores SCORER_OUTPUT.txt --answers-file ANSWERS.jsonl --results FOLDER

The scorer's output ends in one JSON line with `benchmark`, `metric` and `score`.
"""

import json
from pathlib import Path
from typing import Any

from llava.errors import InputError
from llava.eval.command import Parser, run
from llava.eval.merge import settings_of


def last_json(text: str, path: str) -> dict[str, Any]:
    """The JSON object in the last line of a scorer's output."""
    lines = text.strip().splitlines()
    try:
        scores = json.loads(lines[-1]) if lines else None
    except json.JSONDecodeError:
        scores = None
    if not isinstance(scores, dict) or not {"benchmark", "metric", "score"} <= set(scores):
        raise InputError(
            f"a scorer's output must end in a JSON line with benchmark, metric and score: '{path}' does not"
        )
    return scores


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.record", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--scores", required=True, help="what a scorer printed")
    parser.add_argument("--answers-file", required=True, help="the answers that were scored")
    parser.add_argument("--results", required=True, help="folder of results")
    args = parser.parse_args()
    scores = last_json(Path(args.scores).read_text(encoding="utf-8"), args.scores)
    made_with = settings_of(args.answers_file)
    tokens = made_with["average_tokens"]
    record = scores | {
        "method": made_with["method"],
        "settings": made_with["settings"],
        "tokens": tokens,
        "model": made_with["model_path"],
    }
    path = Path(args.results, made_with["method"], f"{tokens:.0f}", f"{scores['benchmark']}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")
    print(f"score kept in {path}")


if __name__ == "__main__":
    run(main)
