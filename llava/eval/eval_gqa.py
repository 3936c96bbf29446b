"""Score GQA: exact match on the balanced questions, by kind of question, and the distribution of the answers.

    python -m llava.eval.eval_gqa --tier testdev_balanced

reads `TIER_questions.json` and `TIER_predictions.json` unless `--questions` and `--predictions` say otherwise. Metrics
and printed form are those of GQA's `eval.py`, less what needs files that GQA 1.2 has not for testdev (validity,
plausibility, grounding). Consistency is scored where every entailed question is there and answered.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from llava.errors import InputError
from llava.eval.benchmarks.answers import check_answered, check_known, named, warn
from llava.eval.benchmarks.gqa import Question, read_predictions, read_questions
from llava.eval.benchmarks.options import add_check_option, add_missing_option
from llava.eval.results.scores import print_scores, ratio
from llava.eval.runs.command import Parser, run

Table = dict[Any, tuple[float, int]]  # kind: accuracy in per cent, questions
KINDS: dict[str, Callable[[Question], Hashable]] = {
    "structural type": lambda question: question.structural,
    "semantic type": lambda question: question.semantic,
    "steps number": lambda question: question.steps,
    "words number": lambda question: question.words,
}


@dataclass(frozen=True)
class Scores:
    """GQA's metrics; all but the distribution in per cent, None where no question is scored by it.

    `tables` holds the accuracies by each of `KINDS`.
    """

    binary: float | None
    open: float | None
    accuracy: float
    consistency: float | None
    distribution: float | None
    tables: dict[str, Table]


def per_cent(rights: Iterable[float]) -> float:
    """The mean of scores in 0..1, in per cent; 0 for none."""
    rights = list(rights)
    return 100 * ratio(sum(rights), len(rights))


def table(kinds: Iterable[Hashable], rights: Iterable[bool]) -> Table:
    """Accuracy and count of each kind, kinds in order."""
    groups: dict[Any, list[bool]] = defaultdict(list)
    for kind, right in zip(kinds, rights, strict=True):
        groups[kind].append(right)
    return {kind: (per_cent(groups[kind]), len(groups[kind])) for kind in sorted(groups)}


def distribution(answers: Iterable[tuple[str | None, str, str]]) -> float:
    """How far predicted answers are from the right ones as distributions; lower is better.

    Within a group the chi-square over its right answers, of how often each is right and how often it is predicted;
    then the mean over groups weighted by their questions, divided by 100. Predictions that are right nowhere in their
    group count for nothing.

    Args:
        answers: group, right answer and prediction of each question; those without group are left out.
    """
    right: dict[str, Counter[str]] = defaultdict(Counter)
    said: dict[str, Counter[str]] = defaultdict(Counter)
    for group, answer, prediction in answers:
        if group is not None:
            right[group][answer] += 1
            said[group][prediction] += 1
    distances = {
        group: sum((said[group][answer] - count) ** 2 / count for answer, count in counts.items())
        for group, counts in right.items()
    }
    weighted = sum(distance * right[group].total() for group, distance in distances.items())
    return ratio(weighted, sum(counts.total() for counts in right.values())) / 100


def implied(questions: dict[str, Question], predictions: dict[str, str]) -> list[tuple[str, ...]]:
    """For every balanced question that is answered rightly and entails others: which."""
    return [
        others
        for name, question in questions.items()
        if question.balanced and predictions[name] == question.answer
        if (others := tuple(other for other in question.entailed if other != name))
    ]


def consistency(
    questions: dict[str, Question], predictions: dict[str, str], entailed: Iterable[tuple[str, ...]]
) -> float:
    """Of what rightly answered questions entail, the part that is answered rightly too: a mean of means, per cent."""
    return per_cent(
        ratio(sum(predictions[other] == questions[other].answer for other in others), len(others))
        for others in entailed
    )


def score(questions: dict[str, Question], predictions: dict[str, str]) -> Scores:
    """All metrics. `predictions` must have every balanced question; consistency is None if it cannot be scored."""
    counted = {name: question for name, question in questions.items() if question.balanced}
    rights = {name: predictions[name] == question.answer for name, question in counted.items()}
    is_open = {name: question.structural == "query" for name, question in counted.items()}
    entailed = implied(questions, predictions)
    known = bool(entailed) and not unknown(entailed, questions, predictions)
    grouped = [(question.group, question.answer, predictions[name]) for name, question in counted.items()]
    return Scores(
        binary=_part(right for name, right in rights.items() if not is_open[name]),
        open=_part(right for name, right in rights.items() if is_open[name]),
        accuracy=per_cent(rights.values()),
        consistency=consistency(questions, predictions, entailed) if known else None,
        distribution=distribution(grouped) if any(group is not None for group, _, _ in grouped) else None,
        tables={title: table(map(kind, counted.values()), rights.values()) for title, kind in KINDS.items()},
    )


def _part(rights: Iterable[bool]) -> float | None:
    rights = list(rights)
    return per_cent(rights) if rights else None


def unknown(
    entailed: Iterable[tuple[str, ...]], questions: dict[str, Question], predictions: dict[str, str]
) -> list[str]:
    """The entailed questions that are not in the question file or have no prediction, each once."""
    names = dict.fromkeys(name for others in entailed for name in others)
    return [name for name in names if name not in questions or name not in predictions]


def report(scores: Scores) -> str:
    """The official lines, without those that no question is scored by."""
    totals = {"Binary": scores.binary, "Open": scores.open, "Accuracy": scores.accuracy}
    totals["Consistency"] = scores.consistency
    lines = [f"{name}: {value:.2f}%" for name, value in totals.items() if value is not None]
    if scores.distribution is not None:
        lines.append(f"Distribution: {scores.distribution:.2f} (lower is better)")
    for title, rows in scores.tables.items():
        lines += ["", f"Accuracy / {title}:"]
        lines += [f"  {kind}: {value:.2f}% ({count} questions)" for kind, (value, count) in rows.items()]
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.eval_gqa", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tier", default="testdev_balanced", help="first part of both files' names")
    parser.add_argument("--questions", default="{tier}_questions.json", help="GQA's question file, or folder of parts")
    parser.add_argument("--predictions", default="{tier}_predictions.json", help="of scripts/convert_gqa_for_eval.py")
    parser.add_argument("--consistency", action="store_true", help="refuse files that do not allow for it")
    add_missing_option(parser, "left out of the score")
    add_check_option(parser)
    args = parser.parse_args()
    question_file = args.questions.replace("{tier}", args.tier)
    prediction_file = args.predictions.replace("{tier}", args.tier)

    questions = read_questions(question_file)
    if args.check:
        return
    predictions = read_predictions(prediction_file)
    check_known(predictions, questions, prediction_file, question_file)
    balanced = [name for name, question in questions.items() if question.balanced]
    unanswered = check_answered(balanced, predictions, prediction_file, args.allow_missing)
    for name in unanswered:
        del questions[name]
    empty = [name for name in balanced if name in predictions and not predictions[name].strip()]
    warn("answers are empty", empty)
    missing = unknown(implied(questions, predictions), questions, predictions)
    if args.consistency and missing:
        raise InputError(
            f"consistency needs every entailed question asked and answered: {len(missing)} are not "
            f"({named(missing)}); ask the questions of an *_all_questions.json"
        )
    scores = score(questions, predictions)
    print(report(scores) + "\n")
    tables = {title: {kind: value for kind, (value, _) in rows.items()} for title, rows in scores.tables.items()}
    details: dict[str, Any] = {"binary": scores.binary, "open": scores.open, "consistency": scores.consistency}
    details |= {"distribution": scores.distribution, "questions": len(balanced) - len(unanswered)}
    details |= {"missing": len(unanswered), "undecided": len(empty)}
    print_scores("gqa", "accuracy", scores.accuracy, **details, **tables)


if __name__ == "__main__":
    run(main)
