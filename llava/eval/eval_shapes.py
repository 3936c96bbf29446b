"""Score the shapes benchmark: answers that are right to the letter, overall and by kind.

    python -m llava.eval.eval_shapes --question-file playground/shapes/questions.jsonl \\
        --annotation-file playground/shapes/answers.jsonl --result-file ANSWERS.jsonl

Neither case nor a full stop at the end counts. Every question must be answered, once.
"""

from collections.abc import Iterable
from typing import Any

from llava.eval.benchmarks.answers import check_answered, check_known, read_by_id, warn
from llava.eval.benchmarks.options import add_answers_options
from llava.eval.benchmarks.shapes import FOLDER, read_truth
from llava.eval.benchmarks.vqa import read_ids
from llava.eval.results.scores import print_scores, ratio
from llava.eval.runs.command import Parser, run


def is_right(text: str, answer: str) -> bool:
    """Whether an answer is the right one: exact match without case and without a full stop at the end."""
    return _plain(text) == _plain(answer)


def _plain(text: str) -> str:
    return text.strip().removesuffix(".").strip().lower()


def by_category(truth: Iterable[dict[str, Any]], right: Iterable[bool]) -> dict[str, tuple[int, int]]:
    """Right answers and questions of each kind, in the order in which kinds first come."""
    counts: dict[str, tuple[int, int]] = {}
    for record, hit in zip(truth, right, strict=True):
        hits, asked = counts.get(record["category"], (0, 0))
        counts[record["category"]] = (hits + hit, asked + 1)
    return counts


def report(counts: dict[str, tuple[int, int]]) -> str:
    """The table for people: a line for each kind, then all together."""
    total = (sum(hits for hits, _ in counts.values()), sum(asked for _, asked in counts.values()))
    width = max(len("overall"), *map(len, counts))
    lines = [
        f"{kind:<{width}}  {hits:>5} of {asked:>5}  {100 * ratio(hits, asked):6.2f} %"
        for kind, (hits, asked) in [*counts.items(), ("overall", total)]
    ]
    lines.insert(-1, "-" * len(lines[0]))
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.eval_shapes", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--question-file", default=f"{FOLDER}/questions.jsonl", help="what was asked")
    parser.add_argument("--annotation-file", default=f"{FOLDER}/answers.jsonl", help="the right answers")
    add_answers_options(parser)
    args = parser.parse_args()

    truth, asked = read_truth(args.annotation_file), read_ids(args.question_file)
    check_known(asked, truth, args.question_file, args.annotation_file)
    if args.check:
        return
    given = read_by_id(args.result_file)
    check_known(given, set(asked), args.result_file, args.question_file)
    missing = check_answered(asked, given, args.result_file, args.allow_missing)
    scored = {name: truth[name] for name in asked if name in given}
    right = [is_right(given[name]["text"], record["answer"]) for name, record in scored.items()]
    empty = [name for name in scored if not given[name]["text"].strip()]
    warn("answers are empty", empty)
    counts = by_category(scored.values(), right)
    print(report(counts))
    details: dict[str, Any] = {
        kind: {"right": hits, "asked": of, "score": 100 * ratio(hits, of)} for kind, (hits, of) in counts.items()
    }
    counted = {"samples": len(right), "missing": len(missing), "undecided": len(empty)}
    print_scores("shapes", "exact match", 100 * ratio(sum(right), len(right)), **counted, categories=details)


if __name__ == "__main__":
    run(main)
