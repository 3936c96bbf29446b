"""What the scripts start: which processes, with which flags, on which GPU."""

from pathlib import Path

import pytest
from stubs import Start, calls, starter, value


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts scripts in this test's folder."""
    return starter(tmp_path)


def test_every_gpu_gets_a_process(start: Start, tmp_path: Path) -> None:
    script = start("pope", CUDA_VISIBLE_DEVICES="3,GPU-8f2a,7")
    assert script.wait() == 0, script.stderr.read()
    runs = calls(tmp_path, "model_vqa_loader")
    assert [gpu for gpu, _ in runs] == ["3", "GPU-8f2a", "7"]
    assert [arguments[-4:] for _, arguments in runs] == [
        ["--num-chunks", "3", "--chunk-idx", str(number)] for number in range(3)
    ]
    pieces = [value(arguments, "--answers-file") for _, arguments in runs]
    [(_, merge)] = calls(tmp_path, "llava.eval.merge")
    assert merge[-3:] == pieces and value(merge, "--wait") == "0"
    assert value(merge, "--answers-file") == f"{tmp_path}/data/pope/answers/llava-v1.5-7b_visiondrop_32.jsonl"


@pytest.mark.parametrize(
    ("settings", "share"),
    [({}, "1"), ({"CHUNKS": 4}, "4"), ({"CHUNKS": 5, "CUDA_VISIBLE_DEVICES": "0,1"}, "3"),
     ({"CUDA_VISIBLE_DEVICES": "0,1,2"}, "1")],
)  # fmt: skip
def test_chunks_of_one_device_share_its_memory(start: Start, tmp_path: Path, settings: dict, share: str) -> None:
    assert start("pope", **settings).wait() == 0
    assert {value(arguments, "--device-share") for _, arguments in calls(tmp_path, "model_vqa_loader")} == {share}


@pytest.mark.parametrize(("setting", "gpu"), [({}, "unset"), ({"CUDA_VISIBLE_DEVICES": ""}, "")])
def test_without_gpus_there_is_one_process(start: Start, tmp_path: Path, setting: dict, gpu: str) -> None:
    assert start("pope", **setting).wait() == 0
    [(seen, arguments)] = calls(tmp_path, "model_vqa_loader")
    assert seen == gpu and arguments[-4:] == ["--num-chunks", "1", "--chunk-idx", "0"]


@pytest.mark.parametrize(
    "names", [("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")]
)
def test_a_rank_takes_its_chunk_and_its_gpu(start: Start, tmp_path: Path, names: tuple[str, ...]) -> None:
    settings = dict(zip(names, (5, 8, 1)))
    assert start("pope", CUDA_VISIBLE_DEVICES="2,3", **settings).wait() == 0
    [(gpu, arguments)] = calls(tmp_path, "model_vqa_loader")
    assert gpu == "3" and arguments[-4:] == ["--num-chunks", "8", "--chunk-idx", "5"]
    assert not calls(tmp_path, "llava.eval.merge") and not calls(tmp_path, "llava.eval.eval_pope")
    assert start("pope", **settings | {names[0]: 0}).wait() == 0
    [(_, merge)] = calls(tmp_path, "llava.eval.merge")
    assert len([word for word in merge if ".chunks/8_" in word]) == 8 and int(value(merge, "--wait")) > 3600
    assert calls(tmp_path, "llava.eval.eval_pope")


def test_under_torchrun_a_process_takes_the_gpu_of_its_local_rank(start: Start, tmp_path: Path) -> None:
    assert start("pope", RANK=11, WORLD_SIZE=16, LOCAL_RANK=3).wait() == 0
    assert calls(tmp_path, "model_vqa_loader")[0][0] == "3"


def test_a_batch_script_is_one_task(start: Start, tmp_path: Path) -> None:
    """Under sbatch without srun the job has many tasks, and this is the only process."""
    assert start("pope", SLURM_PROCID=0, SLURM_NTASKS=8).wait() == 0
    assert calls(tmp_path, "model_vqa_loader")[0][1][-4:] == ["--num-chunks", "1", "--chunk-idx", "0"]


def test_settings_become_flags(start: Start, tmp_path: Path) -> None:
    settings = {"METHOD": "visiondrop", "DOMINANT": 42, "CONTEXTUAL": 6, "LAYER_LIST": "[8,16,24]", "BATCH_SIZE": 16}
    settings |= {"IMAGE_TOKEN_LIST": "[[30, 5],[22,4],[16,3]]", "CONV_MODE": "mistral_instruct", "MODEL_BASE": "a b"}
    settings |= {"CKPT": "out/llava-lora/checkpoint-900/", "MAX_NEW_TOKENS": 7, "OVERWRITE": 1, "DEVICE": "cuda"}
    assert start("textvqa", **settings).wait() == 0
    [(_, arguments)] = calls(tmp_path, "model_vqa_loader")
    flags = ["model-path", "conv-mode", "temperature", "method", "dominant", "contextual", "layer_list", "model-base"]
    flags += ["image_token_list", "batch-size", "device", "max_new_tokens"]
    assert [value(arguments, f"--{flag}") for flag in flags] == [
        *("out/llava-lora/checkpoint-900/", "mistral_instruct", "0", "visiondrop", "42", "6", "[8,16,24]", "a b"),
        *("[[30, 5],[22,4],[16,3]]", "16", "cuda", "7"),
    ]
    assert "--overwrite" in arguments and "--retain" not in arguments
    name = "llava-lora_checkpoint-900_visiondrop_42_6_8-16-24_30-5-22-4-16-3"
    assert f"/textvqa/answers/{name}.chunks/" in value(arguments, "--answers-file")


def test_no_reduction_has_no_budget(start: Start, tmp_path: Path) -> None:
    assert start("sqa", METHOD="none", RETAIN=64).wait() == 0
    [(_, arguments)] = calls(tmp_path, "model_vqa_science")
    assert "--retain" not in arguments and "/llava-v1.5-7b_none.chunks/" in value(arguments, "--answers-file")
    assert "--single-pred-prompt" in arguments


def test_a_preset_is_handed_on_instead_of_a_budget(start: Start, tmp_path: Path) -> None:
    assert start("gqa", METHOD="fastv", PRESET="paper-128").wait() == 0
    [(_, arguments)] = calls(tmp_path, "model_vqa_loader")
    assert value(arguments, "--preset") == "paper-128" and "--retain" not in arguments
    assert "/llava-v1.5-7b_fastv_paper-128/" in value(arguments, "--answers-file")


def test_a_presets_blank_is_not_in_the_name_of_a_file(start: Start, tmp_path: Path) -> None:
    assert start("gqa", METHOD="vscan", PRESET="vscan 11.1%").wait() == 0
    [(_, arguments)] = calls(tmp_path, "model_vqa_loader")
    assert value(arguments, "--preset") == "vscan 11.1%"
    assert "/llava-v1.5-7b_vscan_vscan-11.1%/" in value(arguments, "--answers-file")


def test_a_preset_beside_a_budget_is_left_to_the_runner_to_refuse(start: Start, tmp_path: Path) -> None:
    assert start("gqa", PRESET="paper-64", RETAIN=64).wait() == 0
    [(_, arguments)] = calls(tmp_path, "model_vqa_loader")
    assert value(arguments, "--preset") == "paper-64" and value(arguments, "--retain") == "64"
    assert start("gqa", PRESET="paper-64", METHOD="none").wait() == 0
    assert "--preset" not in calls(tmp_path, "model_vqa_loader")[-1][1]


@pytest.mark.parametrize(
    ("name", "split"), [("mmbench", "MMBench_TEST_EN_legacy"), ("mmbench_cn", "MMBench_DEV_CN_legacy")]
)
@pytest.mark.parametrize("unable", [None, "eval_mmbench", "convert_mmbench"])
def test_split_chooses_the_table(start: Start, tmp_path: Path, name: str, split: str, unable: str | None) -> None:
    """What cannot be done with a table is found out before it is asked, and the rest is done."""
    script = start(name, SPLIT=split, **({"UNABLE": unable} if unable else {}))
    out, err = script.communicate()
    assert script.returncode == 0
    assert (f"/{name}/answers_upload/{split}/llava-v1.5-7b_visiondrop_32.xlsx" in out) == (unable != "convert_mmbench")
    assert ("it will not be scored here: cannot" in err) == (unable == "eval_mmbench") == ("not scored:" in out)
    assert ("no workbook will be written: cannot" in err) == (unable == "convert_mmbench")
    [(_, arguments)] = calls(tmp_path, "model_vqa_mmbench")
    assert value(arguments, "--question-file") == f"{tmp_path}/data/{name}/{split}.tsv"
    assert value(arguments, "--lang") == ("cn" if name == "mmbench_cn" else "en")
    assert bool(calls(tmp_path, "llava.eval.eval_mmbench")) == (unable != "eval_mmbench")
    assert bool(calls(tmp_path, "convert_mmbench")) == (unable != "convert_mmbench")


def test_a_table_that_allows_for_nothing_is_not_asked(start: Start, tmp_path: Path) -> None:
    script = start("mmbench", UNABLE="mmbench")
    assert script.communicate()[1] == "error: cannot\n" and script.returncode == 2
    assert not calls(tmp_path, "model_vqa")


@pytest.mark.parametrize("there", [False, True])
def test_the_first_dev_table_is_scored_by_the_later_one_s_letters(start: Start, tmp_path: Path, there: bool) -> None:
    (tmp_path / "data/mmbench").mkdir(parents=True)
    later = tmp_path / "data/mmbench/mmbench_dev_en_20231003.tsv"
    if there:
        later.touch()
    for name in ("mmbench", "mmbench_cn"):
        (tmp_path / "calls").unlink(missing_ok=True)
        assert start(name).wait() == 0
        [(_, arguments)] = calls(tmp_path, "llava.eval.eval_mmbench")
        as_server = there and name == "mmbench"
        assert ("--as-server" in arguments) == as_server
        assert (value(arguments, "--annotation-file") == str(later)) == as_server


def test_values_are_never_read_by_the_shell(start: Start, tmp_path: Path) -> None:
    odd = tmp_path / "da ta; touch it $(touch that) *"
    for name in ("gqa", "mme", "vqav2", "vizwiz", "seed", "mmvet", "llavabench", "mmbench", "sqa", "textvqa", "pope"):
        script = start(name, DATA=odd, CKPT="models/my llava*", CHUNKS=2)
        assert script.wait() == 0, script.stderr.read()
    assert not (tmp_path / "it").exists() and not (odd / "that").exists() and not (tmp_path / "that").exists()
    for _, arguments in calls(tmp_path, "model_vqa"):
        assert (
            value(arguments, "--answers-file").startswith(f"{odd}/")
            and value(arguments, "--model-path") == "models/my llava*"
        )
        assert value(arguments, "--question-file").startswith(f"{odd}/")


def test_a_failed_chunk_fails_the_script(start: Start, tmp_path: Path) -> None:
    script = start("pope", CHUNKS=3, FAIL=1)
    _, err = script.communicate()
    log = f"{tmp_path}/data/pope/answers/llava-v1.5-7b_visiondrop_32.chunks/3_1.jsonl.log"
    assert script.returncode == 1 and err == f"error: a chunk failed with exit code 3, see {log}: error: it broke\n"
    assert len(calls(tmp_path, "model_vqa_loader")) == 3 and not calls(tmp_path, "llava.eval.merge")
    alone = start("pope", FAIL=0)
    assert alone.wait() == 3 and "error: it broke" in alone.stderr.read()


@pytest.mark.parametrize("module", ["llava.eval.merge", "llava.eval.eval_textvqa", "llava.eval.record"])
def test_whatever_fails_behind_the_answers_fails_the_script(start: Start, tmp_path: Path, module: str) -> None:
    assert start("textvqa", BREAK=module).wait() == 4
    modules = [line.split("\x1f")[2] for line in (tmp_path / "calls").read_text().splitlines()]
    assert modules[-1] == module
