"""Score ScienceQA: accuracy over a split, and over the problems with a picture, which is what papers report.

    python -m llava.eval.eval_science_qa --base-dir scienceqa --result-file ANSWERS.jsonl \\
        --output-file NAME_output.jsonl --output-result NAME_result.json

Rule, printed form and files are those of LLaVA's `eval_science_qa.py`.
"""

import re
from collections.abc import Sequence
from typing import Any

from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.errors import InputError
from llava.eval.benchmarks.answers import check_answered, check_known, read_by_id, warn
from llava.eval.benchmarks.options import add_answers_options
from llava.eval.benchmarks.science_qa import Outcome, Problem, output_file, read_problems, result_file
from llava.eval.results.scores import print_scores, ratio
from llava.eval.runs.command import Parser, run
from llava.files.writing import write_text

FAILED = "FAILED"
NO_ANSWER = {"prompt": "Unknown", "text": FAILED}
FATE = "count as wrong and as without picture"  # LLaVA's rule for problems without answer


def parse(text: str, options: Sequence[str]) -> str:
    """The letter that an answer means, or FAILED.

    It is the whole answer, or stands before a full stop and a space at its start, or is named once by
    `The answer is X` and one more character; in this last form it may be any capital letter.
    """
    if text in options:
        return text
    if len(text) >= 3 and text[0] in options and text[1:3] == ". ":
        return text[0]
    named = re.findall(r"The answer is ([A-Z]).", text)
    return named[0] if len(named) == 1 else FAILED


def index_of(letter: str, choices: int, options: Sequence[str]) -> int:
    """Index of a letter among the first `choices` options, and -1 where it is none of them."""
    valid = list(options[:choices])
    return valid.index(letter) if letter in valid else -1


def outcome_of(name: str, problem: Problem, answer: dict[str, Any], options: Sequence[str]) -> Outcome:
    """A problem with its answer."""
    return Outcome(
        question_id=name,
        parsed_ans=parse(answer["text"], options),
        ground_truth=options[problem.answer],
        question=answer["prompt"],
        pred=answer["text"],
        is_multimodal=DEFAULT_IMAGE_TOKEN in answer["prompt"],
    )


def accuracy(right: Sequence[bool], chosen: Sequence[bool]) -> float:
    """Per cent right of those that are `chosen`; 0 where none is."""
    return ratio(sum(ok for ok, counts in zip(right, chosen) if counts), sum(chosen)) * 100


def by_group(problems: Sequence[Problem], right: Sequence[bool]) -> dict[str, float]:
    """The accuracy of each group of ScienceQA's own evaluation, in per cent."""
    names = sorted({group for problem in problems for group in problem.groups})
    return {name: accuracy(right, [name in problem.groups for problem in problems]) for name in names}


def report(right: Sequence[bool], total: float, with_image: float | None) -> str:
    """The official line; accuracies in per cent, None where no prompt has a picture."""
    counts = f"Total: {len(right)}, Correct: {sum(right)}"
    shown = "none" if with_image is None else f"{with_image:.2f}%"
    return f"{counts}, Accuracy: {total:.2f}%, IMG-Accuracy: {shown}"


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.eval_science_qa", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--base-dir", required=True, help="folder of pid_splits.json and problems.json")
    add_answers_options(parser, FATE)
    parser.add_argument("--output-file", help="written: every problem with its answer, right and wrong ones apart")
    parser.add_argument("--output-result", help="written: accuracy, and the choice made in every problem")
    parser.add_argument("--split", default="test", help="a split of pid_splits.json")
    parser.add_argument("--options", nargs="+", default=list("ABCDE"), help="letters of the choices")
    args = parser.parse_args()
    options = list("".join(args.options))

    problems = read_problems(args.base_dir, args.split)
    most = max(problem.choices for problem in problems.values())
    if len(options) < most:
        raise InputError(f"--options must name every choice: a problem has {most}, got {''.join(options)}; add letters")
    if args.check:
        return
    answers = read_by_id(args.result_file, "prompt")
    check_known(answers, problems, args.result_file, f"split {args.split} of {args.base_dir}")
    missing = check_answered(problems, answers, args.result_file, args.allow_missing, FATE)
    outcomes = [outcome_of(name, problem, answers.get(name, NO_ANSWER), options) for name, problem in problems.items()]
    chosen = [index_of(o.parsed_ans, p.choices, options) for o, p in zip(outcomes, problems.values())]
    right = [index == problem.answer for index, problem in zip(chosen, problems.values())]
    shown = [outcome.is_multimodal for outcome in outcomes]
    total, with_image = accuracy(right, [True] * len(right)), accuracy(right, shown) if any(shown) else None

    if args.output_file:
        write_text(args.output_file, output_file(outcomes, right))
    if args.output_result:
        write_text(args.output_result, result_file(outcomes, chosen, sum(right)))
    failed = [name for name, index in zip(problems, chosen) if index < 0 and name in answers]
    warn("answers name no choice and count as wrong", failed)
    print(report(right, total, with_image) + "\n")
    if with_image is None:
        raise InputError(
            f"ScienceQA's score is the accuracy on problems with picture: no prompt in '{args.result_file}' has "
            f"{DEFAULT_IMAGE_TOKEN}; answer the published question file with model_vqa_science"
        )
    details = {"accuracy": total, "correct": sum(right), "problems": len(right), "with_image": sum(shown)}
    details |= {"missing": len(missing), "failed": len(failed) + len(missing), "undecided": len(failed)}
    print_scores("sqa", "IMG accuracy", with_image, **details, groups=by_group(list(problems.values()), right))


if __name__ == "__main__":
    run(main)
