"""The latency table, on a shape small enough for a test."""

import json
from pathlib import Path

import pytest
from commands import call

SMALL = ["--layers", 8, "--width", 64, "--intermediate", 128, "--heads", 4, "--vocabulary", 100]
SMALL += ["--vision-layers", 3, "--vision-width", 32, "--vision-heads", 2, "--repeats", 2, "--new-tokens", 2]


def test_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "figures/latency.json"
    done = call("benchmark", capsys, *SMALL, "--device", "cpu", "--retain", 64, 32, "--json", path)
    assert done.code == 0
    result = json.loads(path.read_text())
    rows = result["rows"]
    assert [row["method"] for row in rows] == ["none", "visiondrop", "visiondrop"]
    assert [round(row["tokens"]) for row in rows] == [576, 64, 32]
    for row in rows:
        assert row["kv_bytes"] == row["kv_bytes_by_count"] > 0
        assert min(row["encoder_ms"], row["prefill_ms"]) > 0 and row["token_ms"] >= 0
    assert [row["reduction_ms"] > 0 for row in rows] == [False, True, True]
    # Keys and values of 8 layers, 64 wide, float32, of 55 text tokens and 576 image tokens.
    assert rows[0]["kv_bytes"] == 8 * 2 * 64 * 4 * (55 + 576)
    assert rows[2]["kv_bytes"] == 2 * 2 * 64 * 4 * sum(55 + count for count in (48, 35, 26, 19))
    assert rows[0]["prefill_flops"] > rows[1]["prefill_flops"] > rows[2]["prefill_flops"]
    assert result["command"].startswith("python -m llava.eval.benchmark --layers 8")
    assert done.out.count("\n| ") == 4 and done.out.endswith(f"written to {path}\n")


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--retain", 0], "--retain: must be a whole number of at least 1: got '0'"),
        (["--retain", 1], "--retain of visiondrop must leave fewer tokens at each stage: got 1, which gives 2, 2, 2"),
        (["--retain", 5000], "must not exceed what the encoder has"),
        (["--repeats", 0], "--repeats: must be a whole number of at least 1"),
        (["--new-tokens", 0], "--new-tokens: must be a whole number of at least 1"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture, flags: list, complaint: str) -> None:
    done = call("benchmark", capsys, *SMALL, *flags)
    assert done.code == 2 and complaint in done.err and done.err.count("\n") == 0
