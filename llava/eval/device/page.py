"""The examination of a device as a page of Markdown."""

from collections.abc import Mapping
from typing import Any

from llava.eval.runs.reporting import in_flops
from llava.eval.speed.report import latency_table, parts_table, throughput_table

ELSEWHERE = "as on the CPU"  # the name of that part


def agreement_table(rows: list[dict[str, Any]]) -> str:
    """For each method and dtype how far the ways of asking are from the question alone, and the choices."""
    lines = [
        "| method | dtype | batched | shared | captured | compiled | choices in a batch | choices of float32 | waits "
        "| right |"
    ]
    lines.append("|---|---|--:|--:|--:|--:|--:|--:|--:|---|")
    for row in rows:
        ways = [_way(row[way]) for way in ("batched", "shared", "captured", "compiled")]
        waits = "" if row["syncs"] is None else f"{row['syncs']}"
        lines.append(
            f"| {row['method']} | {row['dtype']} | {' | '.join(ways)} | {100 * row['choices_batched']:.1f} % "
            f"| {100 * row['choices_float32']:.1f} % | {waits} | {'yes' if row['right'] else '**no**'} |"
        )
    return "\n".join(lines)


def _way(way: Mapping[str, float] | None) -> str:
    if way is None:
        return "not run"
    return f"{way['apart']:.1e}" + ("" if way["agree"] == 1 else f", {100 * way['agree']:.0f} % agree")


def elsewhere_table(rows: list[dict[str, Any]]) -> str:
    """How far a device's answers in float32 are from the CPU's, and what is not right."""
    wrong = ", ".join(row["method"] for row in rows if not row["right"]) or "none"
    others = ", ".join(row["method"] for row in rows if not row["choices"]) or "none"
    farthest = max((row["apart"] for row in rows if row["choices"]), default=0.0)
    return (
        f"A small model in float32 here and on the CPU, {len(rows)} methods: where choices are equal, logits are at "
        f"most {farthest:.1e} of the largest apart. Other choices: {others}. Not right: {wrong}."
    )


def roofline_table(table: Mapping[str, Any]) -> str:
    """The shares of the peak that prefill and new tokens reach."""
    roof = table["roof"]
    lines = [
        f"Measured peak: {in_flops(roof['flops'])} and {roof['bytes'] / 1e9:.0f} GB a second.",
        "",
        "| method | tokens | first token ms | captured | prefill, of peak operations | per token, of peak bytes "
        "| compiled ms per token | of peak bytes |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row, share in zip(table["rows"], table["of_peak"], strict=True):
        compiled, captured = "| | |", ""
        if row["compiled_first_ms"] is not None:
            captured = f"{row['compiled_first_ms']:.1f}"
        if "compiled_token" in share:
            compiled = f"| {row['compiled_token_ms']:.2f} | {100 * share['compiled_token']:.0f} % |"
        lines.append(
            f"| {row['method']} | {row['tokens']:.0f} | {row['first_ms']:.1f} | {captured} "
            f"| {100 * share['prefill']:.0f} % | {100 * share['token']:.0f} % {compiled}"
        )
    return "\n".join(lines)


def aims_table(rows: list[dict[str, Any]]) -> str:
    """Aims beside what was reached."""
    lines = ["| model | aim | bound | reached | met |", "|---|---|--:|--:|---|"]
    for row in rows:
        share = row["bound"] < 1
        numbers = [f"{100 * row[key]:.1f} %" if share else f"{row[key]:.2f}x" for key in ("bound", "reached")]
        bound = f"{'at most' if row['at_most'] else 'at least'} {numbers[0]}"
        lines.append(f"| {row['model']} | {row['aim']} | {bound} | {numbers[1]} | {'yes' if row['met'] else 'no'} |")
    return "\n".join(lines)


def checks_of(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of every part that compared answers in some way of asking."""
    return [row for name, rows in found.items() if name.startswith("agreement") for row in rows]


def all_right(found: Mapping[str, Any]) -> bool:
    """Whether every answer that was compared is right."""
    return all(row["right"] for row in [*checks_of(found), *found.get(ELSEWHERE, [])])


def page(result: Mapping[str, Any]) -> str:
    """Everything that was found, what failed and what was left out, to be read or put into the documentation."""
    parts = [f"# {result['machine']}", f"`{result['command']}`"]
    checks = checks_of(result["found"])
    if result["aims"]:
        parts += ["## Aims", aims_table(result["aims"])]
    if checks:
        wrong = sum(not row["right"] for row in checks)
        parts += ["## Answers", f"{len(checks)} checks, {wrong} not right.", agreement_table(checks)]
    if ELSEWHERE in result["found"]:
        parts += ["## The same on the CPU", elsewhere_table(result["found"][ELSEWHERE])]
    for name, table in result["found"].items():
        if name.startswith("tables"):
            parts += [f"## {name.removeprefix('tables ')}", table["about"].replace("\n", "; ")]
            parts += [latency_table(table["rows"]), roofline_table(table)]
            if table["throughput"]:
                parts += [throughput_table(table["throughput"]), parts_table(table["parts"])]
    for name, why in result["failed"].items():
        parts += [f"## Failed: {name}", f"```\n{why.rstrip()}\n```"]
    if result["skipped"]:
        parts.append(f"Left out, the time was up: {', '.join(result['skipped'])}.")
    return "\n\n".join(parts) + "\n"
