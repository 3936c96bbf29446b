"""Score MME: two yes-or-no questions per picture, 14 subtasks; perception at most 2000, cognition at most 800.

    python -m llava.eval.eval_mme --result-file ANSWERS.jsonl --data MME_Benchmark_release_version \\
        --output-dir eval_tool/answers/NAME

writes `SUBTASK.txt` files as LLaVA's `convert_answer_to_mme.py` does and scores them as MME's `calculation.py` does;
`--results_dir FOLDER` scores files that are there.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llava.errors import InputError, shown
from llava.eval.benchmarks.answers import check_answered, warn
from llava.eval.benchmarks.mme import SUBTASKS, Converted, check_data, convert, leave_out, read_truth
from llava.eval.benchmarks.options import add_check_option, add_missing_option
from llava.eval.files import read_answer_lines, read_jsonl
from llava.eval.results.scores import print_scores, ratio
from llava.eval.runs.command import Parser, run
from llava.files.reading import read_text
from llava.files.writing import write_text

PREFIX = 4  # characters of an answer that are looked at
Said = tuple[str, str]  # right answer and what the model's means: yes, no or other


@dataclass(frozen=True)
class Result:
    """A subtask's result. `accuracy` is of questions, `accuracy_plus` of pictures with both right; both 0..1."""

    accuracy: float
    accuracy_plus: float
    other: int

    @property
    def score(self) -> float:
        """At most 200."""
        return self.accuracy * 100 + self.accuracy_plus * 100


def meaning(text: str) -> str:
    """What an answer means by its first four characters: yes if they hold `yes`, else no if `no`, else other."""
    start = text.lower()[:PREFIX]
    return next((word for word in ("yes", "no") if word in start), "other")


def calculate(pictures: list[tuple[Said, Said]]) -> Result:
    """The result of a subtask from the two questions to each of its pictures; other is wrong."""
    right = [[truth == said for truth, said in pair] for pair in pictures]
    return Result(
        accuracy=ratio(sum(map(sum, right)), 2 * len(right)),
        accuracy_plus=ratio(sum(map(all, right)), len(right)),
        other=sum(said == "other" for pair in pictures for _, said in pair),
    )


def read_subtask(path: Path) -> list[tuple[Said, Said]]:
    """The answers of a `SUBTASK.txt`, two lines for each picture.

    Raises:
        InputError: for a missing or empty file, lines of other than four fields, a right answer other than yes or no,
            and pictures that have not two lines.
    """
    lines = list(_lines(path))
    if not lines or len(lines) % 2:
        raise InputError(f"MME has two lines per picture: '{path}' has {len(lines)} lines; convert the answers again")
    pairs = list(zip(lines[::2], lines[1::2]))
    odd = next((first[0] for first, second in pairs if first[0] != second[0]), None)
    if odd is not None:
        raise InputError(
            f"MME has two lines per picture, one after the other: '{path}' has one for {odd}; answer in the order of "
            f"llava_mme.jsonl"
        )
    return [(first[1:], second[1:]) for first, second in pairs]


def _lines(path: Path) -> Iterator[tuple[str, str, str]]:
    content = read_text(str(path), "a subtask's answers")
    for number, line in enumerate(content.removesuffix("\n").split("\n") if content else [], 1):
        fields = line.split("\t")
        if len(fields) != 4 or fields[2].lower() not in ("yes", "no"):
            raise InputError(
                f"a subtask's line is file, question, Yes or No, answer with tabs between: {path} line {number} is "
                f"{shown(line)}; convert the answers again"
            )
        yield fields[0], fields[2].lower(), meaning(fields[3])


def report(group: str, results: dict[str, Result], total: float) -> str:
    """The official lines for perception or cognition."""
    lines = [f"=========== {group} ===========", f"total score: {total} ", ""]
    lines += [f"\t {name}  score: {result.score}" for name, result in results.items()]
    return "\n".join([*lines, "", ""])


def converted_answers(result_file: str, data: str, allow_missing: bool) -> tuple[Converted, list[str]]:
    """An answers file in MME's form, and the pictures left out of it where they are `allow_missing`."""
    answers, truth, left_out = read_answer_lines(result_file, "prompt"), read_truth(data), list[str]()
    if allow_missing:
        answers, truth, left_out = leave_out(answers, truth)
    else:
        check_data(answers, truth, data)
    converted = convert(answers, truth)
    check_answered(converted.missing, (), result_file)
    without = [name for names in SUBTASKS.values() for name in names if name not in converted.texts]
    if without:
        raise InputError(
            f"MME's score is the sum over {sum(map(len, SUBTASKS.values()))} subtasks: '{result_file}' has no answer "
            f"to {', '.join(without)} that MME's data has too; answer llava_mme.jsonl, and fetch MME's data whole"
        )
    warn("answers hold a tab or line break, which is written as a space", converted.mended)
    return converted, left_out


def score_folder(folder: str, left_out: Sequence[str] = ()) -> None:
    """Print the score of a folder of `SUBTASK.txt` files."""
    results = {
        group: {name: calculate(read_subtask(Path(folder) / f"{name}.txt")) for name in names}
        for group, names in SUBTASKS.items()
    }
    totals = {group: sum(result.score for result in subtasks.values()) for group, subtasks in results.items()}
    for group, subtasks in results.items():
        print(report(group, subtasks, totals[group]))
    details = {
        name: {
            "score": result.score,
            "accuracy": 100 * result.accuracy,
            "accuracy_plus": 100 * result.accuracy_plus,
            "other": result.other,
        }
        for subtasks in results.values()
        for name, result in subtasks.items()
    }
    other = {name: result.other for subtasks in results.values() for name, result in subtasks.items() if result.other}
    if other:
        told = ", ".join(f"{name} {count}" for name, count in other.items())
        print(
            f"WARNING: {sum(other.values())} answers are neither yes nor no and count as wrong: {told}", file=sys.stderr
        )
    both = {group.lower(): total for group, total in totals.items()}
    counted = {"left_out": len(left_out), "undecided": sum(other.values())}
    print_scores("mme", "perception + cognition", sum(totals.values()), **both, **counted, subtasks=details)


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.eval_mme", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--result-file", help="answers file, to be converted first")
    parser.add_argument("--data", help="MME_Benchmark_release_version, for the conversion")
    parser.add_argument("--question-file", help="llava_mme.jsonl, to see that the data has all its pictures")
    parser.add_argument("--output-dir", help="where the conversion writes; the folder is made")
    parser.add_argument("--results_dir", help="folder of SUBTASK.txt files to score, without conversion")
    add_missing_option(parser, "left out of the score with their picture; so are pictures that the data lacks")
    add_check_option(parser)
    args = parser.parse_args()
    conversion = (args.result_file, args.data, args.output_dir)
    if any(conversion) if args.results_dir else not all(conversion):
        parser.error("what to score is said by --result-file, --data and --output-dir, or by --results_dir alone")
    if args.data and args.question_file and not args.allow_missing:
        asked = read_jsonl(args.question_file, ("question_id",), "a question file")
        check_data(asked, read_truth(args.data), args.data)
    if args.check:
        return
    left_out: list[str] = []
    if args.results_dir is None:
        converted, left_out = converted_answers(args.result_file, args.data, args.allow_missing)
        for category, text in converted.texts.items():
            write_text(str(Path(args.output_dir) / f"{category}.txt"), text)
    score_folder(args.results_dir or args.output_dir, left_out)


if __name__ == "__main__":
    run(main)
