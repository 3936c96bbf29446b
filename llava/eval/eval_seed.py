"""Score SEED-Bench: multiple choice about pictures and frames of videos, by type of question.

    python -m llava.eval.eval_seed --annotation-file SEED-Bench.json --result-file ANSWERS.jsonl

Rule and printed form are those of LLaVA's `convert_seed_for_submission.py`: an answer is right if it is the letter and
nothing else. Where no question about videos is answered, the score is that of the pictures, and called so.
"""

from collections.abc import Sequence

from llava.eval.benchmarks.answers import warn
from llava.eval.benchmarks.options import add_answers_options
from llava.eval.benchmarks.seed import DATA_TYPES, LETTERS, Question, asked_of, read_questions, read_texts
from llava.eval.results.scores import print_scores, ratio
from llava.eval.runs.command import Parser, run

FATE = "count as wrong"  # LLaVA's rule for questions without answer
Accuracies = dict[str, float]


def accuracy(questions: Sequence[Question], texts: dict[str, str]) -> float:
    """Per cent of the questions that are answered with the right letter."""
    return 100 * ratio(
        sum(texts.get(question.question_id) == question.answer for question in questions), len(questions)
    )


def by_type(questions: Sequence[Question], texts: dict[str, str], kinds: Sequence[str]) -> Accuracies:
    """`accuracy` of each type of question, in the order of `kinds`; what is not asked about is left out."""
    used = {question.kind for question in questions}
    return {kind: accuracy([q for q in questions if q.kind == kind], texts) for kind in kinds if kind in used}


def by_data(questions: Sequence[Question], texts: dict[str, str]) -> Accuracies:
    """`accuracy` of the questions about pictures and of those about videos; what is not asked about is left out."""
    used = [data for data in DATA_TYPES if any(question.data_type == data for question in questions)]
    return {data: accuracy([q for q in questions if q.data_type == data], texts) for data in used}


def report(types: Accuracies, total: float, data: Accuracies) -> str:
    """The official lines."""
    rows = types | {"Total accuracy": total} | {f"{name} accuracy": value for name, value in data.items()}
    return "\n".join(f"{name}: {value:.2f}%" for name, value in rows.items())


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.eval_seed", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--annotation-file", required=True, help="SEED-Bench.json")
    add_answers_options(parser, FATE)
    args = parser.parse_args()

    questions, kinds = read_questions(args.annotation_file)
    if args.check:
        return
    texts = read_texts(args.result_file, questions, args.annotation_file)
    asked, missing = asked_of(questions, texts, args.result_file, args.allow_missing, FATE)
    odd = [name for name, text in texts.items() if text not in LETTERS]
    warn(f"of {len(texts)} answers are no letter of {', '.join(LETTERS)} alone and count as wrong", odd)
    types, total, data = by_type(asked, texts, kinds), accuracy(asked, texts), by_data(asked, texts)
    print(report(types, total, data) + "\n")
    details = {"questions": len(asked), "missing": len(missing), "undecided": len(odd)}
    # A part of the benchmark has a name of its own, so that no table compares it with the whole.
    part = "" if len(asked) == len(questions) else next(iter(data))
    name, metric = (f"seed_{part}", f"{part} accuracy") if part else ("seed", "accuracy")
    print_scores(name, metric, total, **details, left_out=len(questions) - len(asked), **data, types=types)


if __name__ == "__main__":
    run(main)
