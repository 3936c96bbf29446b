"""Keep a benchmark's score with what it was made with, for `llava.eval.report`.

    python -m llava.eval.record --scores SCORER_OUTPUT.txt --answers-file ANSWERS.jsonl --output results/NAME/pope.json

The scorer's output ends in one JSON line with `benchmark`, `metric` and `score`. For a score that came from a
benchmark's server give `--benchmark vqav2 --score 78.5` instead of `--scores`.
"""

import json
from typing import Any

from llava.errors import InputError
from llava.eval.results.scores import is_number
from llava.eval.runs.command import Parser, between, run
from llava.eval.runs.settings import read_settings
from llava.files.reading import parse_json, read_text
from llava.files.writing import write_text
from llava.utils import get_model_name_from_path


def last_json(path: str) -> dict[str, Any]:
    """The JSON object in the last line of a scorer's output."""
    last = read_text(path, "a scorer's output").strip().split("\n")[-1]
    try:
        scores = parse_json(last, "a scorer's last line", path)
    except InputError:
        scores = None
    texts = ("benchmark", "metric")
    if not isinstance(scores, dict) or not all(isinstance(scores.get(name), str) for name in texts):
        scores = {}
    if not is_number(scores.get("score")):
        raise InputError(
            f"a scorer's output must end in a JSON line with benchmark, metric and score: '{path}' does not; look for "
            f"an error in it"
        )
    return scores


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.record", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--scores", help="what a scorer printed")
    parser.add_argument("--benchmark", help="name of a benchmark that its server has scored")
    parser.add_argument("--score", type=between(-1e9, 1e9), help="the server's score, on the scale of papers")
    parser.add_argument("--answers-file", required=True, help="the answers that were scored")
    parser.add_argument("--output", required=True, help="the record to write, JSON")
    args = parser.parse_args()
    from_server = args.benchmark is not None and args.score is not None
    if from_server == (args.scores is not None):
        parser.error("the score is said by --scores, or by --benchmark and --score")
    if from_server:
        scores = {"benchmark": args.benchmark, "metric": "of its server", "score": args.score}
    else:
        scores = last_json(args.scores)
    made_with = read_settings(args.answers_file, "method", "settings", "average_tokens", "model_path")
    record = scores | {
        "method": made_with["method"],
        "settings": made_with["settings"],
        "tokens": made_with["average_tokens"],
        "model": get_model_name_from_path(made_with["model_path"]),
    }
    write_text(args.output, json.dumps(record) + "\n")
    print(f"score kept in {args.output}")


if __name__ == "__main__":
    run(main)
