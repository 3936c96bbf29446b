"""Score MMBench where the table has its answers: circular accuracy, overall and by ability.

    python -m llava.eval.eval_mmbench --annotation-file mmbench_dev_20230712.tsv --result-file ANSWERS.jsonl

A question counts in circular accuracy when it is answered rightly in every order of its options: in the table's rows
that are turned copies of it, and in every round of `--all-rounds`. Letters are read from answers as VLMEvalKit's
exact-matching mode reads them. `--as-server` scores answers to another version of the table as MMBench's server did.
"""

import sys
from collections.abc import Iterable
from typing import Any

from llava.errors import InputError, shown
from llava.eval.benchmarks.answers import check_answered, warn
from llava.eval.benchmarks.mmbench import CIRCLE, LETTERS, options_of, present, read_table
from llava.eval.benchmarks.mmbench_answers import Rounds, is_about, meant, not_turned, read_rounds
from llava.eval.benchmarks.options import add_answers_options
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


Rows = dict[int, dict[str, Any]]  # a table's rows by index
Verdicts = dict[int, list[bool]]  # whether each round's answer is right, by index


def read_rows(path: str) -> tuple[Rows, list[str]]:
    """The rows of a table with answers, and those of `KINDS` that it has.

    Raises:
        InputError: as `read_table`, and for a row whose answer is no letter, as in tables for a server.
    """
    table = read_table(path, ("index", *LETTERS, "answer"))
    rows = {row["index"]: row for row in table.drop(columns="image", errors="ignore").to_dict("records")}
    unknown = [index for index, row in rows.items() if not present(row["answer"])]
    if unknown:
        raise InputError(
            f"scoring needs the answers: '{path}' has none for {len(unknown)} of {len(rows)} rows, first index "
            f"{unknown[0]}; the test tables that MMBench publishes with answers since its server closed have them: "
            f"see docs/evaluation.md"
        )
    strange = next((index for index, row in rows.items() if row["answer"] not in LETTERS), None)
    if strange is not None:
        raise InputError(
            f"an answer is one of {', '.join(LETTERS)}: '{path}' has {shown(rows[strange]['answer'])} for index "
            f"{strange}; fetch the table again"
        )
    return rows, [name for name in KINDS if name in table.columns]


def check_fit(answers: Rounds, rows: Rows, result_file: str, table_file: str, as_server: bool) -> None:
    """Refuse answers to other questions or options than the table's; `as_server`, only count them on stderr.

    Raises:
        InputError: names the first index.
    """
    hint = "; answers to another version of the table are scored with --as-server"
    strange = [index for index in answers if index not in rows]
    other = [
        index
        for index, rounds in answers.items()
        if index in rows and not all(is_about(record, rows[index]) for record in rounds.values())
    ]
    if as_server:
        warn("answers are to rows that the table has not, and are left out", [str(index) for index in strange])
        warn("answers are to other options than the table's; letters count", [str(index) for index in other])
        return
    if strange:
        raise InputError(
            f"'{result_file}' is about {strange[0]}, which is not in '{table_file}'; give the table that was asked"
            f"{hint}"
        )
    if other:
        record = answers[other[0]][min(answers[other[0]])]
        raise InputError(
            f"answers must be those to the table: '{result_file}' has for index {other[0]} the options "
            f"{shown(record['options'])}, expected {shown(options_of(rows[other[0]]))}; give the table that was asked"
            f"{hint}"
        )


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
    """The lines for people, per cent with two digits; `overall` begins with the name of what the tables hold."""
    lines = [f"{name.capitalize()} accuracy: {value:.2f}%" for name, value in overall.items()]
    for title, table in tables.items():
        lines += ["", f"{next(iter(overall)).capitalize()} accuracy by {title}:"]
        for kind, value in table.items():
            short = f" ({ABBREVIATIONS[kind]})" if kind in ABBREVIATIONS else ""
            lines.append(f"{kind}{short}: {value:.2f}%")
    return "\n".join(lines)


def tables_of(rows: Rows, kinds: list[str], groups: dict[int, bool]) -> dict[str, dict[str, float]]:
    """The accuracy by each column of `kinds`; a question's kind is that of its unturned row, which comes first."""
    named = {kind: {index % CIRCLE: str(row[kind]) for index, row in reversed(rows.items())} for kind in kinds}
    return {kind: by_kind(groups, names) for kind, names in named.items()}


def whole_questions(rows: Rows, answers: Rounds, path: str, allow_missing: bool) -> tuple[Rows, int]:
    """The rows of questions of which every row is answered, and how many rows have no answer."""
    missing = check_answered(map(str, rows), {str(index) for index in answers}, path, allow_missing)
    torn = {int(index) % CIRCLE for index in missing}
    kept = {index: row for index, row in rows.items() if index % CIRCLE not in torn}
    if not kept:
        raise InputError(f"a question needs an answer in every order of its options: '{path}' has none that is whole")
    return kept, len(missing)


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.eval_mmbench", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--annotation-file", required=True, help="table with answers")
    add_answers_options(parser, "left out of the score with all rows of their question")
    parser.add_argument("--benchmark", choices=("mmbench", "mmbench_cn"), default="mmbench", help="name of the score")
    parser.add_argument(
        "--as-server", action="store_true", help="the table's rows and letters count, whichever version was asked"
    )
    args = parser.parse_args()

    rows, kinds = read_rows(args.annotation_file)
    if args.check:
        return
    answers = read_rounds(args.result_file)
    check_fit(answers, rows, args.result_file, args.annotation_file, args.as_server)
    rows, missing = whole_questions(rows, answers, args.result_file, args.allow_missing)
    letters = {index: [meant(answers[index][turn]) for turn in sorted(answers[index])] for index in rows}
    verdicts = {index: [letter == rows[index]["answer"] for letter in said] for index, said in letters.items()}
    undecided = [str(index) for index, said in letters.items() if None in said]
    warn(f"of {len(letters)} rows have an answer that names no option and counts as wrong", undecided)
    groups, overall = circular(verdicts), accuracies(verdicts)
    single = not_turned(answers, rows)
    turned = len(single) < len(groups) or any(len(said) > 1 for said in letters.values())
    if turned:
        warn("questions are not asked in every order of their options", [str(index) for index in single])
    else:
        print(
            "WARNING: no question is asked in another order: this is no circular accuracy",
            file=sys.stderr,
        )
        overall = {"vanilla": overall["rows"]}
    tables = tables_of(rows, kinds, groups)
    print(report(overall, tables), end="\n\n")
    # Each question asked once is another measure: it has a name of its own, so that no table compares the two.
    name, metric = (args.benchmark, "circular") if turned else (f"{args.benchmark}_vanilla", "vanilla")
    counted = {"questions": len(groups), "right": sum(groups.values()), "not_turned": len(single)}
    counted |= {"missing": missing, "undecided": len(undecided)}
    print_scores(name, f"{metric} accuracy", overall[metric], **counted, accuracies=overall, **tables)


if __name__ == "__main__":
    run(main)
