"""What was aimed at on a GPU, beside what one run reached."""

from collections.abc import Mapping
from typing import Any

Row = dict[str, Any]


PAPERS = {
    "end to end": "end_to_end_ms",
    "end to end, compiled,": "compiled_ms",
    "to the first token, compiled,": "compiled_first_ms",
}


def aims(tables: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """A row for every aim that the tables of the models (`7b`, `next-7b`, ...) can speak to: text, least, reached, met.

    The paper's end-to-end speed-ups (arXiv 2506.22283) are 2.0x with 64 of 576 tokens and 2.7x with 320 of 2880.
    """
    found: list[Row] = []
    for name, table in tables.items():
        rows = table["rows"]
        for load in table["throughput"]:
            if load["workload"] == "GQA":
                best = max(load["shared_qps"], load["compiled_qps"] or 0.0)
                found.append(_aim(name, "questions per second as in GQA, shared, against one at a time", 30.0,
                                  best / load["one_at_a_time_qps"]))  # fmt: skip
        last = rows[-1]
        if last["compiled_ms"]:
            text = f"one at a time, compiled against not, {last['tokens']:.0f} tokens, to the last of the answer"
            found.append(_aim(name, text, 2.5, last["end_to_end_ms"] / last["compiled_ms"]))
        for row in rows[1:]:
            kept = round(row["tokens"])
            paper = {("7b", 64): 2.0, ("next-7b", 320): 2.7}.get((name, kept))
            if paper is not None:
                for text, column in PAPERS.items():
                    if row[column]:
                        faster = rows[0][column] / row[column]
                        found.append(_aim(name, f"{text} with {kept} tokens, the paper's", paper, faster))
        counted = rows[0]["prefill_flops"] / last["prefill_flops"]
        reached = rows[0]["prefill_ms"] / last["prefill_ms"]
        text = f"prefill with {last['tokens']:.0f} tokens, of the counted ratio"
        found.append(_aim(name, text, 0.8, reached / counted))
        share = max(row["reduction_ms"] / row["prefill_ms"] for row in rows)
        found.append(_aim(name, "the reduction's own part of a prefill", 0.05, share, most=True))
    return found


def _aim(model: str, text: str, bound: float, reached: float, most: bool = False) -> Row:
    met = reached <= bound if most else reached >= bound
    return {"model": model, "aim": text, "bound": bound, "at_most": most, "reached": reached, "met": met}
