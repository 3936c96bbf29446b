"""Every benchmark from its script to its score or upload file, in one chunk and in three, on made-up data."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import openpyxl
import published
import pytest
from commands import records
from interpreter import serving
from shallow import shallow

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts/v1_5/visiondrop_eval"
# Answers file of each benchmark and a file made of it for a server or an official scorer, below its data folder.
MERGED = {
    "gqa": "gqa/answers/llava_gqa_testdev_balanced/{}/merge.jsonl",
    "mmbench": "mmbench/answers/mmbench_dev_20230712/{}.jsonl",
    "mmbench_cn": "mmbench_cn/answers/mmbench_dev_cn_20231003/{}.jsonl",
    "mme": "MME/answers/{}.jsonl",
    "pope": "pope/answers/{}.jsonl",
    "sqa": "scienceqa/answers/{}.jsonl",
    "textvqa": "textvqa/answers/{}.jsonl",
    "vizwiz": "vizwiz/answers/{}.jsonl",
    "vqav2": "vqav2/answers/llava_vqav2_mscoco_test-dev2015/{}/merge.jsonl",
    "seed": "seed_bench/answers/{}/merge.jsonl",
    "mmvet": "mm-vet/answers/{}.jsonl",
    "llavabench": "llava-bench-in-the-wild/answers/{}.jsonl",
    "msvd": "GPT_Zero_Shot_QA/MSVD_Zero_Shot_QA/answers/{}/merge.jsonl",
    "msrvtt": "GPT_Zero_Shot_QA/MSRVTT_Zero_Shot_QA/answers/{}/merge.jsonl",
    "tgif": "GPT_Zero_Shot_QA/TGIF_Zero_Shot_QA/answers/{}/merge.jsonl",
    "activitynet": "GPT_Zero_Shot_QA/Activitynet_Zero_Shot_QA/answers/{}/merge.jsonl",
}
VIDEOS = ("msvd", "msrvtt", "tgif", "activitynet")
SCORED = ("gqa", "mmbench", "mmbench_cn", "mme", "pope", "sqa", "textvqa", "seed", *VIDEOS)
UPLOADED = {
    "gqa": "gqa/answers/llava_gqa_testdev_balanced/{}/testdev_balanced_predictions.json",
    "mme": "MME/eval_tool/answers/{}/color.txt",
    "sqa": "scienceqa/answers/{}_result.json",
    "mmbench": "mmbench/answers_upload/mmbench_dev_20230712/{}.xlsx",
    "mmbench_cn": "mmbench_cn/answers_upload/mmbench_dev_cn_20231003/{}.xlsx",
    "vizwiz": "vizwiz/answers_upload/{}.json",
    "vqav2": "vqav2/answers_upload/llava_vqav2_mscoco_test-dev2015/{}.json",
    "seed": "seed_bench/answers_upload/{}.jsonl",
    "mmvet": "mm-vet/results/{}.json",
} | {name: MERGED[name].replace("merge", "gpt") for name in VIDEOS}
QUESTIONS = {"gqa": 5, "mmbench": 7, "mmbench_cn": 7, "mme": 28, "pope": 12, "sqa": 5, "textvqa": 4, "vizwiz": 5}
QUESTIONS |= {"vqav2": 5, "seed": 4, "mmvet": 3, "llavabench": 3} | dict.fromkeys(VIDEOS, 4)

Script = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The interpreter that starts at once."""
    with serving(tmp_path_factory.mktemp("python")) as client:
        yield client


@pytest.fixture
def script(python: Path, tmp_path: Path) -> Script:
    """`script("pope", CHUNKS=3)` is `bash pope.sh` on the data in tmp_path, with settings in the environment."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}

    def call(name: str, *arguments: str, **settings: object) -> subprocess.CompletedProcess:
        chosen = {"CKPT": shallow("llava-tiny-12l"), "DATA": tmp_path, "MAX_NEW_TOKENS": 2, "PYTHON": python}
        chosen |= {"DEVICE": "cpu", "HF_HUB_OFFLINE": 1, "PYTHONPATH": ROOT} | settings
        environment = inherited | {name: str(value) for name, value in chosen.items()}
        command = ["bash", str(SCRIPTS / f"{name}.sh"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False)

    return call


def contents(path: Path) -> object:
    """A file's contents without what is random in it."""
    if path.suffix == ".xlsx":
        sheet = openpyxl.load_workbook(path)["Sheet1"]
        return [[cell.value for cell in row] for row in sheet.iter_rows()]
    if path.suffix == ".txt":
        return path.read_text()
    if path.suffix == ".jsonl":
        return [{key: value for key, value in record.items() if key != "answer_id"} for record in records(path)]
    value = json.loads(path.read_text())
    return {key: value[key] for key in value if key != "experiment"} if isinstance(value, dict) else value


# Whole runs of the others take long: a score and an upload, a workbook, a server's file alone, and videos are here.
FIRST = ("gqa", "mmbench", "vizwiz", "msvd")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name if name in FIRST else pytest.param(name, marks=pytest.mark.long) for name in MERGED]
)
def test_script_in_one_chunk_and_in_three(script: Script, tmp_path: Path, name: str) -> None:
    published.WRITERS[name](tmp_path)
    left_behind = []
    for chunks, run in ((1, "one"), (3, "three")):
        done = script(name, CHUNKS=chunks, NAME=run)
        assert done.returncode == 0, done.stderr
        files = [table[name].format(run) for table in (MERGED, UPLOADED) if name in table]
        assert len(records(tmp_path / files[0])) == QUESTIONS[name]
        if name in SCORED:
            files.append(f"results/{run}/{name}.json")
            record = json.loads((tmp_path / files[-1]).read_text())
            assert (record["benchmark"], record["method"]) == (name, "visiondrop")
            assert record["tokens"] == pytest.approx(32, abs=2 if name in VIDEOS else 0)
            assert f'"score": {json.dumps(record["score"])}' in done.stdout
        if name not in SCORED or name.startswith("mmbench"):
            assert "to be " in done.stdout and files[1 if name in UPLOADED else 0] in done.stdout
        assert "Traceback" not in done.stdout + done.stderr
        left_behind.append([contents(tmp_path / file) for file in files])
    assert left_behind[0] == left_behind[1]


@pytest.mark.slow
def test_a_finished_run_is_not_repeated_unless_asked_to(script: Script, tmp_path: Path) -> None:
    published.vizwiz(tmp_path)
    answers = tmp_path / MERGED["vizwiz"].format("llava-tiny-12l_visiondrop_32")
    assert "5 of them from before" not in script("vizwiz").stdout
    before = answers.read_bytes()
    assert "5 of them from before" in script("vizwiz").stdout and answers.read_bytes() == before
    assert "from before" not in script("vizwiz", OVERWRITE=1).stdout and answers.read_bytes() != before
    other = script("vizwiz", NAME="llava-tiny-12l_visiondrop_32", RETAIN=64)
    assert other.returncode == 2 and "with the settings they were begun with" in other.stderr


@pytest.mark.slow
def test_ranks_of_torchrun_or_slurm_take_a_chunk_each(script: Script, tmp_path: Path) -> None:
    published.pope(tmp_path)
    late = script("pope", RANK=1, WORLD_SIZE=2, LOCAL_RANK=1)
    assert late.returncode == 0 and "Category" not in late.stdout
    first = script("pope", SLURM_PROCID=0, SLURM_STEP_NUM_TASKS=2)
    assert first.returncode == 0 and "12 answers in" in first.stdout and '"benchmark": "pope"' in first.stdout


@pytest.mark.slow
def test_a_failed_chunk_fails_the_script_and_names_its_log(script: Script, tmp_path: Path) -> None:
    published.pope(tmp_path)
    picture = tmp_path / "pope/val2014/COCO_val2014_000000310197.jpg"
    whole = picture.read_bytes()
    picture.write_bytes(whole[:200])
    failed = script("pope", CHUNKS=2, NAME="n")
    assert failed.returncode == 1
    log = f"{tmp_path}/pope/answers/n.chunks/2_0.jsonl.log"
    assert f"error: a chunk failed with exit code 2, see {log}: error: " in failed.stderr
    assert str(picture) in failed.stderr and "Category" not in failed.stdout
    assert not (tmp_path / "pope/answers/n.jsonl").exists()
    picture.write_bytes(whole)
    again = script("pope", CHUNKS=2, NAME="n")
    assert again.returncode == 0 and "2 of them from before" in Path(log).read_text()


@pytest.mark.slow
def test_all_runs_what_has_data_and_names_what_has_not(script: Script, tmp_path: Path) -> None:
    published.llavabench(tmp_path)
    published.vizwiz(tmp_path)
    (tmp_path / "vizwiz/test/VizWiz_test_00000003.jpg").unlink()
    done = script("all", METHOD="none", SPLIT="of another benchmark")
    assert done.returncode == 0, done.stderr
    skipped = "gqa mmbench mmbench_cn mme pope sqa textvqa vizwiz vqav2 seed mmvet msvd msrvtt tgif activitynet"
    assert done.stdout.endswith(f"run: llavabench\nskipped, data incomplete: {skipped}\nfailed: none\n")
    assert "missing  1 pictures that questions name, first VizWiz_test_00000003.jpg" in done.stdout
    assert (tmp_path / MERGED["llavabench"].format("llava-tiny-12l_none")).is_file()
    picture = tmp_path / "llava-bench-in-the-wild/images/002.jpg"
    picture.write_bytes(picture.read_bytes()[:60])
    failed = script("all", "vizwiz", "llavabench", "coco", OVERWRITE=1)
    assert failed.returncode == 1
    assert failed.stdout.endswith("run: none\nskipped, data incomplete: vizwiz\nfailed: llavabench coco\n")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"CKPT": ""}, "error: CKPT must name a checkpoint"),
        ({"DATA": "/nowhere/at all"}, "/nowhere"),
        ({"RETAIN": "many"}, "--retain: must be a whole number: got 'many'"),
        ({"DOMINANT": 42}, "needs contextual, layer_list, image_token_list"),
        ({"DOMINANT": 42, "RETAIN": 32}, "--retain makes the whole schedule: got it with --dominant"),
        ({"METHOD": "fastest"}, "invalid choice: 'fastest'"),
        ({"BATCH_SIZE": 0}, "--batch-size: must be a whole number of at least 1"),
        ({"CONV_MODE": "vicuna"}, "--conv-mode must name a conversation template"),
    ],
)
def test_settings_that_cannot_be(script: Script, tmp_path: Path, settings: dict[str, object], complaint: str) -> None:
    published.pope(tmp_path)
    done = script("pope", **settings)
    assert done.returncode == 2 and complaint in done.stderr and "Traceback" not in done.stderr


def test_scripts_are_short_and_hold_no_private_path() -> None:
    for path in SCRIPTS.glob("*.sh"):
        text = path.read_text()
        assert "/home/" not in text and "/mnt/" not in text and "CUDA_VISIBLE_DEVICES=0" not in text
        if path.name not in ("common.sh", "all.sh"):
            assert len(text.splitlines()) <= 36 and '. "$here/' in text
