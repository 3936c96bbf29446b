"""Score MSVD-QA, MSRVTT-QA, TGIF-QA and ActivityNet-QA: exact match, by kind of question; the file that GPT grades.

    python -m llava.eval.eval_videoqa --dataset msvd --questions test_q.json --answers test_a.json \\
        --result-file ANSWERS.jsonl --gpt-file to_grade.jsonl

An answer is right if it is the annotated one, both normalised as TextVQA's are (case, punctuation, articles, numbers).
With --graded, what the usual grading by GPT came to is told as well, and is the score. See docs/video.md.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llava.errors import InputError
from llava.eval.benchmarks.answers import check_answered, check_known, read_by_id, warn
from llava.eval.benchmarks.options import add_answers_options
from llava.eval.benchmarks.video_grading import Grade, accuracy, average_points, grading_lines, read_grades
from llava.eval.benchmarks.videoqa import DATASETS, VideoQuestion, read_annotations
from llava.eval.benchmarks.vqa_text import normalise_m4c
from llava.eval.results.scores import print_scores, ratio
from llava.eval.runs.command import Parser, run
from llava.files.writing import write_text

Questions = Sequence[VideoQuestion]


def is_right(question: VideoQuestion, text: str) -> bool:
    """Whether an answer is the annotated one, both normalised."""
    return normalise_m4c(text) == normalise_m4c(question.answer)


def exact_match(questions: Questions, texts: dict[str, str]) -> float:
    """Per cent of the questions that are answered rightly."""
    return 100 * ratio(sum(is_right(one, texts[one.question_id]) for one in questions), len(questions))


def by_kind(questions: Questions, score: Callable[[Questions], float]) -> dict[str, float]:
    """A score of each kind of question, in the order in which kinds first come."""
    kinds = dict.fromkeys(one.kind for one in questions)
    return {kind: score([one for one in questions if one.kind == kind]) for kind in kinds}


def report(title: str, overall: float, kinds: dict[str, float]) -> str:
    """Lines for a person."""
    return "\n".join([f"{title}: {overall:.2f}%", *(f"  {kind}: {value:.2f}%" for kind, value in kinds.items())])


def graded_scores(questions: Questions, grades: dict[str, Grade]) -> dict[str, Any]:
    """What a grading comes to, for the last line."""

    def of(some: Questions) -> float:
        return accuracy([grades[one.question_id] for one in some])

    given = [grades[one.question_id] for one in questions]
    unclear = [one.question_id for one in questions if grades[one.question_id].right is None]
    warn("grades are neither yes nor no and count for the average score alone", unclear)
    return {
        "accuracy": accuracy(given),
        "average_score": average_points(given),
        "unclear": len(unclear),
        "types": by_kind(questions, of),
    }


def add_annotation_options(parser: Parser) -> None:
    """The published files."""
    parser.add_argument("--dataset", required=True, choices=DATASETS, help="whose files they are")
    parser.add_argument("--questions", required=True, help="test_q.json, test_qa.json or Test_frameqa_question.csv")
    parser.add_argument("--answers", help="test_a.json, where answers have a file of their own")


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.eval_videoqa", description=(__doc__ or "").split("\n")[0])
    add_annotation_options(parser)
    add_answers_options(parser)
    parser.add_argument("--gpt-file", help="written: JSON Lines of what the usual grading by GPT takes")
    parser.add_argument("--graded", help="what that grading has given: its results file, or its folder of files")
    args = parser.parse_args()

    questions = read_annotations(args.dataset, args.questions, args.answers)
    if args.check:
        return
    texts = {name: record["text"] for name, record in read_by_id(args.result_file).items()}
    known = {one.question_id for one in questions}
    check_known(texts, known, args.result_file, args.questions)
    missing = check_answered([one.question_id for one in questions], texts, args.result_file, args.allow_missing)
    asked = [one for one in questions if one.question_id in texts]
    empty = [one.question_id for one in asked if not texts[one.question_id].strip()]
    warn("answers are empty", empty)

    matched, kinds = exact_match(asked, texts), by_kind(asked, lambda some: exact_match(some, texts))
    details: dict[str, Any] = {"questions": len(asked), "missing": len(missing), "undecided": len(empty)}
    print(report("Exact match", matched, kinds))
    if args.gpt_file:
        write_text(args.gpt_file, grading_lines(asked, texts))
        print(f"to be graded by GPT: {args.gpt_file}")
    if args.graded is None:
        print()
        print_scores(args.dataset, "exact match", matched, **details, types=kinds)
        return
    grades = read_grades(args.graded, texts)
    ungraded = [name for name in texts if name not in grades]
    if ungraded:
        raise InputError(
            f"every answer needs a grade: '{args.graded}' has none of {len(ungraded)} answers, the first "
            f"{ungraded[0]!r}; let the grading go on until it has all"
        )
    graded = graded_scores(asked, grades)
    print(report("Accuracy by GPT", graded["accuracy"], graded["types"]))
    print(f"Average score by GPT: {graded['average_score']:.2f}\n")
    details |= {"average_score": graded["average_score"], "unclear": graded["unclear"], "exact_match": matched}
    print_scores(f"{args.dataset}_gpt", "accuracy by GPT", graded["accuracy"], **details, types=graded["types"])


if __name__ == "__main__":
    run(main)
