"""Gather all scores into one table: a row for every method and budget, a column for every benchmark.

    python -m llava.eval.report --results playground/data/eval/results --output figures/accuracy

prints the table in Markdown and writes `accuracy.md`, `accuracy.csv` and `accuracy.png`. Rows of the paper are marked
as published. The average is per cent of the unreduced run, over the benchmarks that both runs have.
"""

import csv
import io
from typing import Any

from llava.errors import InputError
from llava.eval.pictures.figure import new_figure, save
from llava.eval.results.table import COLUMNS, PAPER, PAPER_NEXT, UNREDUCED, Row, read_results
from llava.eval.runs.command import Parser, run
from llava.files.writing import write_text

ABSENT = "-"


def columns_of(rows: list[Row]) -> list[str]:
    """The paper's benchmarks in its order, then any other that has a score."""
    found = {name for row in rows for name in row.scores}
    return [name for name in COLUMNS if name in found] + sorted(found - set(COLUMNS))


def cells(row: Row, columns: list[str]) -> list[str]:
    """A row of the table as text."""
    scores = [f"{row.scores[name]:.2f}" if name in row.scores else ABSENT for name in columns]
    relative = ABSENT if row.relative is None else f"{row.relative:.2f}"
    count = str(len(row.scores)) if not row.published else "9" if row.scores else ABSENT
    method = f"{row.method} {row.settings}".strip()
    return [row.source, method, f"{row.tokens:.0f}", *scores, relative, count, "yes" if row.published else "no"]


def header(columns: list[str]) -> list[str]:
    """Names of a row's cells."""
    return ["model", "method", "tokens", *columns, "% of full", "benchmarks", "published"]


def markdown(rows: list[Row]) -> str:
    """The table in Markdown."""
    columns = columns_of(rows)
    head = header(columns)
    lines = [head, ["---", "---", *["--:"] * (len(head) - 3), "---"], *(cells(row, columns) for row in rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def comma_separated(rows: list[Row]) -> str:
    """The table as CSV."""
    columns, text = columns_of(rows), io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header(columns))
    writer.writerows(cells(row, columns) for row in rows)
    return text.getvalue()


def draw(rows: list[Row], path: str) -> None:
    """Accuracy against image tokens, as a PNG: a line for every model and method, published points hollow.

    Raises:
        InputError: where matplotlib is not installed.
    """
    figure = new_figure(7, 4.2)
    axes: Any = figure.subplots()
    axes.axhline(100, color="black", linewidth=0.8, label="unreduced")
    rows = [row for row in rows if row.relative is not None and row.method != UNREDUCED]
    methods = sorted({row.method for row in rows})
    for source, method, published in sorted({(row.source, row.method, row.published) for row in rows}):
        line = sorted((row.tokens, row.relative) for row in rows if (row.source, row.method) == (source, method))
        style = {"linestyle": "--", "markerfacecolor": "white"} if published else {"linestyle": "-"}
        axes.plot(*zip(*line), marker="o", color=f"C{methods.index(method)}", label=f"{method}, {source}", **style)
    axes.set_xscale("log", base=2)
    ticks = sorted({round(row.tokens) for row in rows})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel="average image tokens per LLM layer", ylabel="mean score, % of unreduced")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    save(figure, path)


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.report", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--results", default="playground/data/eval/results", help="folder that the scripts fill")
    parser.add_argument("--output", help="stem of the .md, .csv and .png to write; unset: only print")
    parser.add_argument("--no-paper", action="store_true", help="leave the paper's rows out")
    args = parser.parse_args()
    own = read_results(args.results)
    if not own:
        raise InputError(
            f"a report needs results: '{args.results}' has no NAME/BENCHMARK.json; run a script of "
            f"scripts/v1_5/visiondrop_eval first"
        )
    rows = own + ([] if args.no_paper else [*PAPER, *PAPER_NEXT])
    table = markdown(rows)
    print(table, end="")
    if len({frozenset(row.scores) for row in own}) > 1:
        print("\nrows are averaged over different benchmarks, see their number: compare with care")
    if any(row.relative is None for row in own):
        print("\n% of full needs the unreduced run: METHOD=none")
    if args.output:
        write_text(f"{args.output}.md", table)
        write_text(f"{args.output}.csv", comma_separated(rows))
        draw(rows, f"{args.output}.png")
        print(f"\nwritten to {args.output}.md, .csv and .png")


if __name__ == "__main__":
    run(main)
