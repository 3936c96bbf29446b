"""What is there, what is missing, and where to get it."""

import hashlib
import json
from pathlib import Path

import published
import pytest
from commands import call

from llava.eval import datasets
from llava.eval.datasets import BENCHMARKS


@pytest.mark.parametrize("name", published.WRITERS)
def test_complete_benchmarks_can_be_run(tmp_path: Path, capsys: pytest.CaptureFixture, name: str) -> None:
    published.WRITERS[name](tmp_path)
    done = call("prepare", capsys, name, "--data", tmp_path)
    assert done.code == 0, done.out
    assert done.out.startswith(f"{name}: {tmp_path / BENCHMARKS[name].folder}\n")
    assert "missing" not in done.out and f"(published: {BENCHMARKS[name].count})" in done.out


@pytest.mark.parametrize("name", BENCHMARKS)
def test_absent_benchmarks_say_where_everything_comes_from(
    tmp_path: Path, capsys: pytest.CaptureFixture, name: str
) -> None:
    done = call("prepare", capsys, name, "--data", tmp_path)
    assert done.code == 1
    for source in BENCHMARKS[name].files:
        assert any(
            line.split()[:2] == ["missing", source.path] and line.endswith(f"from {source.origin}")
            for line in done.out.splitlines()
        )


def test_published_files_are_known_by_their_checksum(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    published.pope(tmp_path)
    done = call("prepare", capsys, "pope", "--data", tmp_path)
    assert done.out.count("  differs  ") == 4 and "SHA-256 begins 1d3b41f0dced" in done.out
    file = tmp_path / "pope/llava_pope_test.jsonl"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    source = datasets.Source("llava_pope_test.jsonl", "x", digest)
    patched = datasets.Benchmark("pope", (source,), "llava_pope_test.jsonl", 12, "val2014")
    monkeypatch.setitem(BENCHMARKS, "pope", patched)
    done = call("prepare", capsys, "pope", "--data", tmp_path)
    assert done.code == 0 and "the published file (SHA-256)" in done.out and "12 questions (as published)" in done.out


def test_pictures_that_questions_name_are_looked_for(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    published.sqa(tmp_path)
    (tmp_path / "scienceqa/images/test/7/image.png").unlink()
    done = call("prepare", capsys, "sqa", "--data", tmp_path)
    assert done.code == 1 and "missing  1 pictures that questions name, first 7/image.png" in done.out


def test_json_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    published.pope(tmp_path)
    done = call("prepare", capsys, "pope", "gqa", "--json", "--data", tmp_path)
    assert done.code == 1 and json.loads(done.out) == {"pope": True, "gqa": False}


def test_unknown_names_list_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    done = call("prepare", capsys, "coco", "--data", tmp_path)
    assert done.code == 2 and "must be one of gqa, mmbench, mmbench_cn, mme, pope" in done.err


def test_nine_benchmarks_and_three_more() -> None:
    counts = {name: benchmark.count for name, benchmark in BENCHMARKS.items()}
    assert counts == {
        "gqa": 12578,
        "mmbench": 4377,
        "mmbench_cn": 4329,
        "mme": 2374,
        "pope": 8910,
        "sqa": 4241,
        "textvqa": 5000,
        "vizwiz": 8000,
        "vqav2": 107394,
        "seed": 19242,
        "mmvet": 218,
        "llavabench": 60,
    }
