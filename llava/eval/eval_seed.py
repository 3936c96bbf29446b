"""Score SEED-Bench: multiple choice about pictures and frames of videos, by type of question.

    python -m llava.eval.eval_seed --annotation-file SEED-Bench.json --result-file ANSWERS.jsonl

Rule and printed form are those of LLaVA's `convert_seed_for_submission.py`: an answer is right if it is the letter and
nothing else, a missing one is wrong.
"""

from collections.abc import Sequence

from llava.eval.benchmarks.seed import DATA_TYPES, Question, read_questions, read_texts
from llava.eval.benchmarks.vqa_upload import warn
from llava.eval.results.scores import print_scores, ratio
from llava.eval.runs.command import Parser, run

Accuracies = dict[str, float]


def accuracy(questions: Sequence[Question], texts: dict[str, str]) -> float:
    """Per cent of the questions that are answered with the right letter."""
    return 100 * ratio(
        sum(texts.get(question.question_id) == question.answer for question in questions), len(questions)
    )


def by_type(questions: Sequence[Question], texts: dict[str, str], kinds: Sequence[str]) -> Accuracies:
    """`accuracy` of each type of question, in the order of `kinds`."""
    return {kind: accuracy([q for q in questions if q.kind == kind], texts) for kind in kinds}


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
    parser.add_argument("--result-file", required=True, help="answers file")
    args = parser.parse_args()

    questions, kinds = read_questions(args.annotation_file)
    texts = read_texts(args.result_file, questions, args.annotation_file)
    missing = [question.question_id for question in questions if question.question_id not in texts]
    warn("questions have no answer and count as wrong", missing)
    types, total, data = by_type(questions, texts, kinds), accuracy(questions, texts), by_data(questions, texts)
    print(report(types, total, data) + "\n")
    print_scores("seed", "accuracy", total, questions=len(questions), missing=len(missing), **data, types=types)


if __name__ == "__main__":
    run(main)
