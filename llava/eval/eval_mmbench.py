"""Score MMBench where the answers are public (dev): circular accuracy, overall and by ability.

    python -m llava.eval.eval_mmbench --annotation-file mmbench_dev_20230712.tsv --result-file ANSWERS.jsonl

A question counts in circular accuracy when it is answered rightly in every order of its options: in the table's rows
that are turned copies of it, and in every round of `--all-rounds`. Letters are read from answers as VLMEvalKit's
exact-matching mode reads them. For test see `scripts/convert_mmbench_for_submission.py`.
"""

from collections.abc import Iterable
from typing import Any

from llava.errors import InputError
from llava.eval.benchmarks.mmbench import CIRCLE, LETTERS, options_of, present, read_table
from llava.eval.benchmarks.mmbench_letters import letter_of
from llava.eval.benchmarks.vqa import check_answered, check_known
from llava.eval.files import read_jsonl
from llava.eval.results.scores import print_scores, ratio
from llava.eval.runs.command import Parser, run

KINDS = ("split", "l2-category", "category")
ABBREVIATIONS = {
    "coarse_perception": "CP",
    "finegrained_perception (instance-level)": "FP-S",
    "finegrained_perception (cross-instance)": "FP-C",
    "logic_reasoning": "LR",
    "relation_reasoning": "RR",
    "attribute_reasoning": "AR",
}

Verdicts = dict[int, list[bool]]  # whether each round's answer is right, by index


def read_rounds(path: str) -> dict[int, dict[int, dict[str, Any]]]:
    """An answers file of `model_vqa_mmbench` as records by index and round.

    Raises:
        InputError: as `read_jsonl`, for values of other kinds, and for a round that is answered twice.
    """
    keys = {"question_id": int, "round_id": int, "text": str, "options": list, "option_char": list}
    answers: dict[int, dict[int, dict[str, Any]]] = {}
    for where, record in read_jsonl(path, keys, "MMBench's answers file"):
        wrong = [name for name, kind in keys.items() if not isinstance(record[name], kind)]
        if wrong or len(record["options"]) != len(record["option_char"]):
            name = wrong[0] if wrong else "option_char"
            raise InputError(f"MMBench's answers are those of model_vqa_mmbench: {where} has {name} {record[name]!r}")
        rounds = answers.setdefault(record["question_id"], {})
        if record["round_id"] in rounds:
            raise InputError(
                f"an answers file holds one answer per question and round: {where} answers {record['question_id']} "
                f"again; remove it"
            )
        rounds[record["round_id"]] = record
    return answers


def is_right(record: dict[str, Any], row: dict[str, Any], path: str) -> bool:
    """Whether an answer means the row's letter; its own letters are those shown in its round.

    Raises:
        InputError: when the answer is to other options than the row's.
    """
    if dict(zip(record["option_char"], record["options"])) != dict(zip(LETTERS, options_of(row))):
        raise InputError(
            f"answers must be those to the table: '{path}' has for index {row['index']} the options "
            f"{record['options']!r}, expected {options_of(row)!r}; give the table that was asked"
        )
    shown = letter_of(record["text"], dict(zip(LETTERS, record["options"])))
    return dict(zip(LETTERS, record["option_char"])).get(shown or "") == row["answer"]


def circular(verdicts: Verdicts) -> dict[int, bool]:
    """Whether all answers to a question are right, by the index of the question."""
    groups: dict[int, bool] = {}
    for index, rounds in verdicts.items():
        groups[index % CIRCLE] = groups.get(index % CIRCLE, True) and all(rounds)
    return groups


def per_cent(right: Iterable[bool]) -> float:
    """Share of what is right, per cent."""
    right = list(right)
    return 100 * ratio(sum(right), len(right))


def by_kind(groups: dict[int, bool], kinds: dict[int, str]) -> dict[str, float]:
    """Circular accuracy of the questions of each kind, per cent, by name."""
    found: dict[str, list[bool]] = {}
    for index, right in groups.items():
        found.setdefault(kinds[index], []).append(right)
    return {kind: per_cent(found[kind]) for kind in sorted(found)}


def accuracies(verdicts: Verdicts) -> dict[str, float]:
    """Circular, vanilla (the unturned question alone) and row accuracy, per cent."""
    return {
        "circular": per_cent(circular(verdicts).values()),
        "vanilla": per_cent(rounds[0] for index, rounds in verdicts.items() if index < CIRCLE),
        "rows": per_cent(right for rounds in verdicts.values() for right in rounds),
    }


def report(overall: dict[str, float], tables: dict[str, dict[str, float]]) -> str:
    """The lines for people, per cent with two digits."""
    lines = [f"{name.capitalize()} accuracy: {value:.2f}%" for name, value in overall.items()]
    for title, table in tables.items():
        lines += ["", f"Circular accuracy by {title}:"]
        for kind, value in table.items():
            short = f" ({ABBREVIATIONS[kind]})" if kind in ABBREVIATIONS else ""
            lines.append(f"{kind}{short}: {value:.2f}%")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.eval_mmbench", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--annotation-file", required=True, help="table with answers")
    parser.add_argument("--result-file", required=True, help="answers file")
    parser.add_argument("--benchmark", choices=("mmbench", "mmbench_cn"), default="mmbench", help="name of the score")
    args = parser.parse_args()

    table = read_table(args.annotation_file, ("index", *LETTERS, "answer"))
    rows = {row["index"]: row for row in table.drop(columns="image", errors="ignore").to_dict("records")}
    unknown = [index for index, row in rows.items() if not present(row["answer"])]
    if unknown:
        raise InputError(
            f"scoring needs the answers: '{args.annotation_file}' has none for {len(unknown)} rows, first index "
            f"{unknown[0]}; a test table is scored by MMBench's server"
        )
    answers = read_rounds(args.result_file)
    check_known(answers, rows, args.result_file, args.annotation_file)
    check_answered(rows, answers, args.result_file)
    verdicts = {
        index: [is_right(answers[index][turn], row, args.result_file) for turn in sorted(answers[index])]
        for index, row in rows.items()
    }
    groups, overall = circular(verdicts), accuracies(verdicts)
    tables = {}
    for kind in (name for name in KINDS if name in table.columns):
        # Backwards, so that the unturned question, which comes first, has the last word.
        kinds = {index % CIRCLE: str(row[kind]) for index, row in reversed(rows.items())}
        tables[kind] = by_kind(groups, kinds)
    print(report(overall, tables), end="\n\n")
    print_scores(
        args.benchmark, "circular accuracy", overall["circular"], questions=len(groups), accuracies=overall, **tables
    )


if __name__ == "__main__":
    run(main)
