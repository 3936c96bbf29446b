"""The benchmark's results for people: tables in Markdown, and a picture."""

from typing import Any

from llava.eval.pictures.figure import new_figure, save
from llava.eval.runs.reporting import in_flops
from llava.eval.speed.breakdown import PARTS


def _table(columns: str, rows: list[str]) -> str:
    names = columns.split(" | ")
    return "\n".join([f"| {columns} |", f"|---|{'--:|' * (len(names) - 1)}", *rows])


def latency_table(rows: list[dict[str, Any]]) -> str:
    """One question at a time; ratios are to the first row."""
    columns = "method | tokens | encoder ms | prefill ms | faster | drops | ms per token | end to end ms | KV cache"
    columns += " | peak memory | FLOPs | fewer" + (" | compiled ms" if rows[0]["compiled_ms"] else "")
    first, lines = rows[0], []
    for row in rows:
        peak = f"{row['peak_bytes'] / 2**20:.0f} MiB" if row["peak_bytes"] else "unknown"
        compiled = f" | {row['compiled_ms']:.0f}" if row["compiled_ms"] else ""
        lines.append(
            f"| {row['method']} | {row['tokens']:.0f} | {row['encoder_ms']:.0f} | {row['prefill_ms']:.0f} "
            f"| {first['prefill_ms'] / row['prefill_ms']:.1f}x | {100 * row['reduction_ms'] / row['prefill_ms']:.1f} % "
            f"| {row['token_ms']:.1f} | {row['end_to_end_ms']:.0f} | {row['kv_bytes'] / 2**20:.1f} MiB | {peak} "
            f"| {in_flops(row['prefill_flops'])} | {first['prefill_flops'] / row['prefill_flops']:.1f}x{compiled} |"
        )
    return _table(columns, lines)


def throughput_table(rows: list[dict[str, Any]]) -> str:
    """Questions per second; the speed-up is batched and shared against one at a time."""
    columns = "questions as in | per image | one at a time | batched | batched and shared | faster | by FLOPs | of that"
    columns += " | and compiled" if rows[0]["compiled_qps"] else ""
    lines = [
        f"| {row['workload']} | {row['questions_per_image']} | {row['one_at_a_time_qps']:.2f}/s "
        f"| {row['batched_qps']:.2f}/s | {row['shared_qps']:.2f}/s | {row['speedup']:.1f}x "
        f"| {row['allowed_by_flops']:.1f}x | {100 * row['share_of_allowed']:.0f} %"
        + (f" | {row['compiled_qps']:.2f}/s |" if row["compiled_qps"] else " |")
        for row in rows
    ]
    return _table(columns, lines)


def parts_table(parts: dict[str, dict[str, float]]) -> str:
    """Milliseconds per question of each part."""
    lines = []
    for name, times in parts.items():
        whole = sum(times.values())
        shares = " | ".join(f"{times[part]:.1f} ({100 * times[part] / whole:.0f} %)" for part in PARTS)
        lines.append(f"| {name} | {shares} | {whole:.1f} |")
    return _table(f"ms per question | {' | '.join(PARTS)} | all", lines)


def own_work_table(rows: list[dict[str, Any]], images: int) -> str:
    """What methods add, as a share of encoder and prefill together; for one picture, and for each of a batch."""
    lines = [
        f"| {row['method']} | {row['tokens']:.0f} | {'yes' if row['reads_question'] else 'no'} "
        f"| {row['encoder_ms']:.0f} | {row['prefill_ms']:.0f} | {row['own_ms']:.1f} | {100 * row['share']:.1f} % "
        f"| {row['operations']} | {row['own_ms_per_image']:.1f} |"
        for row in rows
    ]
    columns = "method | tokens | reads the question | encoder ms | prefill ms | own ms | share | operations"
    return _table(f"{columns} | own ms each of {images}", lines)


def draw(result: dict[str, Any], path: str) -> None:
    """Questions per second and shares of time, as one PNG.

    Raises:
        InputError: where matplotlib is not installed.
    """
    figure = new_figure(12, 4.5)
    left, right = figure.subplots(1, 2)
    rows = result["throughput"]
    ways = {"one at a time": "one_at_a_time_qps", "batched": "batched_qps", "batched and shared": "shared_qps"}
    ways |= {"and compiled": "compiled_qps"} if rows[0]["compiled_qps"] else {}
    for at, (label, key) in enumerate(ways.items()):
        places = [number + (at - (len(ways) - 1) / 2) * 0.8 / len(ways) for number in range(len(rows))]
        left.bar(places, [row[key] for row in rows], 0.8 / len(ways), label=label)
    left.set_xticks(range(len(rows)), [f"{row['workload']}\n{row['questions_per_image']} : 1" for row in rows])
    left.set_xlabel("questions as in, questions : images")
    left.set_ylabel("questions per second")
    left.legend()
    parts, start = result["parts"], [0.0] * len(result["parts"])
    totals = [sum(times.values()) for times in parts.values()]
    for part in PARTS:
        shares = [100 * times[part] / whole for times, whole in zip(parts.values(), totals)]
        right.barh(range(len(parts)), shares, left=start, label=part)
        start = [before + share for before, share in zip(start, shares)]
    labels = [f"{name}\n{whole:.0f} ms per question" for name, whole in zip(parts, totals)]
    right.set_yticks(range(len(parts)), labels)
    right.invert_yaxis()
    right.set_xlabel("share of time, %")
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=3, fontsize="small")
    figure.suptitle(f"{result['about']}", fontsize="small")
    save(figure, path, dots=120)
