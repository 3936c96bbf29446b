"""What is there, what is missing, and where to get it."""

import hashlib
import json
from pathlib import Path

import published
import pytest
from commands import call

from llava.eval.benchmarks import datasets
from llava.eval.benchmarks.datasets import BENCHMARKS


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
        start, end = ("absent", "optional, from") if source.optional else ("missing", "from")
        line = next(line for line in done.out.splitlines() if source.path in line.split())
        assert line.split()[0] == start and line.endswith(f" {end} {source.origin}")


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


def test_checksums_are_those_of_the_published_files() -> None:
    known = {
        f"{benchmark.folder}/{source.path}": source.sha256
        for benchmark in BENCHMARKS.values()
        for source in benchmark.files
        if source.sha256
    }
    assert known == {
        "gqa/llava_gqa_testdev_balanced.jsonl": "515aab3142889269480c71212d3b5b8118704d8da6637d767a0cb5bdf80a3d35",
        "vizwiz/llava_test.jsonl": "25b71577dafc1e4049b1a273b8e58d0d8bca510510b512e4925730905c3eceac",
        "scienceqa/llava_test_CQM-A.json": "a2dc5ea9fba561b0d0d8ecc80e688d3b0e1ff308e06c4f4f94cff86b20ec2f0a",
        "scienceqa/pid_splits.json": "85c7820b9f136e572579a01dab2c77a7f8140b59211e421fa5182491d45ee3a7",
        "textvqa/llava_textvqa_val_v051_ocr.jsonl": "9f60db6fb89e369263ed676dc26b48d00d4a462e73f0930c09d23394e9dcf3a3",
        "pope/llava_pope_test.jsonl": "1d3b41f0dced74b4f361c659787ef673497cfac54a6be7bde00eb405bab03c70",
        "MME/llava_mme.jsonl": "9f67707cb72d2a71df955d0dce84337f2f22eafe2ed473ca3e148c187ac360c5",
        "mm-vet/llava-mm-vet.jsonl": "ac90c438b58fa867f3e9ff5d1cb0c27be4dd35f167ea129ccceb246e913a65c6",
        "pope/coco/coco_pope_adversarial.json": "1d8f0906a9b50c05640f6f23abfac97523be2a1bed28f7eadc63b811699b2d26",
        "pope/coco/coco_pope_popular.json": "5b16653023bf4f64d57eb0d168259de6627f5cde7538b85ebed3cc33034aa6cc",
        "pope/coco/coco_pope_random.json": "c16b65d2df6d70bb0814c8a4375833d39cdb09928fd936d3fc546491efa37f35",
    }


def test_videos_that_questions_name_are_looked_for(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    published.WRITERS["msvd"](tmp_path)
    videos = tmp_path / "GPT_Zero_Shot_QA/MSVD_Zero_Shot_QA/videos"
    (videos / "clip_b.mkv").unlink()
    done = call("prepare", capsys, "msvd", "--data", tmp_path)
    assert done.code == 1 and "missing  1 videos that questions name, first clip_b.mkv" in done.out
    (videos / "clip_b.mkv").mkdir()  # a folder of frames
    assert call("prepare", capsys, "msvd", "--data", tmp_path).code == 0


@pytest.mark.parametrize(
    ("name", "file", "content", "complaint"),
    [
        ("pope", "pope/llava_pope_test.jsonl", "", "must hold lines"),
        ("pope", "pope/llava_pope_test.jsonl", '{"image": "a"}\n{"ima', "line 2 is none"),
        ("pope", "pope/llava_pope_test.jsonl", '{"image": 3}\n', "image in a question file is text"),
        ("sqa", "scienceqa/llava_test_CQM-A.json", '{"id": 3}', "must be a JSON array of objects"),
        ("sqa", "scienceqa/llava_test_CQM-A.json", "[", "a question file must be JSON"),
        ("mmbench", "mmbench/mmbench_dev_20230712.tsv", "index\tquestion\n1\ta\n", "lacks hint, A, B, C, D, image"),
    ],
)
def test_bad_question_files_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture, name: str, file: str, content: str, complaint: str
) -> None:
    published.WRITERS[name](tmp_path)
    (tmp_path / file).write_text(content)
    done = call("prepare", capsys, name, "--data", tmp_path)
    assert done.code == 2 and complaint in done.err and file in done.err and done.err.count("\n") == 0


def test_pictures_that_questions_name_are_looked_for(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    published.sqa(tmp_path)
    (tmp_path / "scienceqa/images/test/7/image.png").unlink()
    done = call("prepare", capsys, "sqa", "--data", tmp_path)
    assert done.code == 1 and "missing  1 pictures that questions name, first 7/image.png" in done.out


def test_a_folder_of_names_with_a_dot_holds_nothing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    published.vizwiz(tmp_path)
    for path in (tmp_path / "vizwiz/test").iterdir():
        path.unlink()
    (tmp_path / "vizwiz/test/.DS_Store").touch()
    done = call("prepare", capsys, "vizwiz", "--data", tmp_path)
    assert done.code == 1 and "  missing  test/" in done.out


def test_json_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    published.pope(tmp_path)
    done = call("prepare", capsys, "pope", "gqa", "--json", "--data", tmp_path)
    assert done.code == 1 and json.loads(done.out) == {"pope": True, "gqa": False}


def test_unknown_names_list_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    done = call("prepare", capsys, "coco", "--data", tmp_path)
    assert done.code == 2 and "must be one of gqa, mmbench, mmbench_cn, mme, pope" in done.err


def test_nine_benchmarks_three_more_and_four_about_videos() -> None:
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
        "msvd": 13157,
        "msrvtt": 72821,
        "tgif": 13691,
        "activitynet": 8000,
    }
