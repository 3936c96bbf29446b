"""Score the shapes benchmark: answers that are right to the letter, overall and by kind.

    python -m llava.eval.eval_shapes --question-file playground/shapes/questions.jsonl \\
        --annotation-file playground/shapes/answers.jsonl --result-file ANSWERS.jsonl

Neither case nor a full stop at the end counts. Every question must be answered, once.
"""

from collections.abc import Iterable
from typing import Any

from llava.errors import InputError
from llava.eval.benchmarks.vqa import check_answered, check_known, read_questions
from llava.eval.files import read_answers, read_jsonl
from llava.eval.results.scores import print_scores, ratio
from llava.eval.runs.command import Parser, run

FOLDER = "playground/shapes"
KEYS = ("question_id", "image", "category", "answer")


def is_right(text: str, answer: str) -> bool:
    """Whether an answer is the right one: exact match without case and without a full stop at the end."""
    return _plain(text) == _plain(answer)


def _plain(text: str) -> str:
    return text.strip().removesuffix(".").strip().lower()


def read_truth(path: str) -> dict[Any, dict[str, Any]]:
    """The right answers' records by question id, in the file's order.

    Raises:
        InputError: for a file that cannot be read, a line without one of `KEYS`, a question that comes twice.
    """
    truth: dict[Any, dict[str, Any]] = {}
    for where, record in read_jsonl(path, KEYS, "the right answers", ("image", "category", "answer")):
        if not isinstance(record["question_id"], str | int):
            raise InputError(f"a question_id is text or a whole number: {where} has {record['question_id']!r}")
        if record["question_id"] in truth:
            raise InputError(f"a question has one right answer: {where} is about {record['question_id']!r} again")
        truth[record["question_id"]] = record
    return truth


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
    parser.add_argument("--result-file", required=True, help="answers file")
    args = parser.parse_args()

    truth, given = read_truth(args.annotation_file), read_answers(args.result_file)
    asked = [record["question_id"] for record in read_questions(args.question_file)]
    check_known(asked, truth, args.question_file, args.annotation_file)
    check_known(given, set(asked), args.result_file, args.question_file)
    check_answered(asked, given, args.result_file)
    scored = [truth[question_id] for question_id in asked]
    right = [is_right(given[record["question_id"]]["text"], record["answer"]) for record in scored]
    counts = by_category(scored, right)
    print(report(counts))
    details = {
        kind: {"right": hits, "asked": of, "score": 100 * ratio(hits, of)} for kind, (hits, of) in counts.items()
    }
    print_scores("shapes", "exact match", 100 * ratio(sum(right), len(right)), samples=len(right), categories=details)


if __name__ == "__main__":
    run(main)
