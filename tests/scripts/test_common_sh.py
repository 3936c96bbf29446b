"""What the scripts start: which processes, with which flags, on which GPU. A stub stands for the interpreter."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts/v1_5/visiondrop_eval"
# Writes its GPU and arguments down, one call a line, and fails or sleeps where it is told to.
STUB = r"""#!/usr/bin/env bash
line="$(printf '%s\x1f' "${CUDA_VISIBLE_DEVICES-unset}" "$@")"
printf '%s\n' "$line" >>"$CALLS"
[[ "$2" != "${BREAK:-no}" ]] || exit 4
[[ "$2" == llava.eval.model_vqa* ]] || exit 0
if [[ -n "${SLEEP:-}" ]]; then echo "$$" >>"$CALLS.pids"; exec sleep "$SLEEP"; fi
if [[ "$*" == *"--chunk-idx ${FAIL:-no}" ]]; then printf 'a\nwas 1 of 9\rerror: it broke\n\n' >&2; exit 3; fi
"""

Start = Callable[..., subprocess.Popen]


def hear_interrupts() -> None:
    """Let Ctrl-C do what it does in a terminal."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """`start("pope", ...)` starts `bash pope.sh` with settings in the environment."""
    (tmp_path / "stub").write_text(STUB)
    (tmp_path / "stub").chmod(0o755)

    def begin(name: str, **settings: object) -> subprocess.Popen:
        chosen = {"PATH": os.environ["PATH"], "CKPT": "models/llava-v1.5-7b", "DATA": tmp_path / "data"}
        chosen |= {"PYTHON": tmp_path / "stub", "CALLS": tmp_path / "calls"} | settings
        environment = {name: str(value) for name, value in chosen.items()}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = ["bash", str(SCRIPTS / f"{name}.sh")]
        # Where the tests themselves run in the background, Ctrl-C is ignored, which children inherit.
        return subprocess.Popen(command, env=environment, cwd=tmp_path, preexec_fn=hear_interrupts, **pipes)

    return begin


def calls(tmp_path: Path, of: str) -> list[tuple[str, list[str]]]:
    """GPU and arguments of every call of a module or file, in the order of their chunks."""
    lines = [line.split("\x1f")[:-1] for line in (tmp_path / "calls").read_text().splitlines()]
    found = [(gpu, arguments) for gpu, *arguments in lines if any(of in word for word in arguments[:2])]
    return sorted(found, key=lambda call: call[1][-1])


def value(arguments: list[str], flag: str) -> str:
    """What follows a flag."""
    return arguments[arguments.index(flag) + 1]


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


@pytest.mark.parametrize(
    ("name", "split", "scored"),
    [("mmbench", "MMBench_TEST_EN_legacy", False), ("mmbench_cn", "MMBench_DEV_CN_legacy", True)],
)
def test_split_chooses_the_table(start: Start, tmp_path: Path, name: str, split: str, scored: bool) -> None:
    script = start(name, SPLIT=split)
    assert script.wait() == 0
    assert f"/{name}/answers_upload/{split}/llava-v1.5-7b_visiondrop_32.xlsx to https://" in script.stdout.read()
    [(_, arguments)] = calls(tmp_path, "model_vqa_mmbench")
    assert value(arguments, "--question-file") == f"{tmp_path}/data/{name}/{split}.tsv"
    assert value(arguments, "--lang") == ("cn" if name == "mmbench_cn" else "en")
    assert bool(calls(tmp_path, "llava.eval.eval_mmbench")) == scored


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_script_leaves_no_process(start: Start, tmp_path: Path, number: int) -> None:
    script, pids = start("pope", CHUNKS=2, SLEEP=60), tmp_path / "calls.pids"
    while not pids.exists() or len(pids.read_text().splitlines()) < 2:
        time.sleep(0.02)
    script.send_signal(number)
    assert script.wait(timeout=10) == 128 + number
    for pid in map(int, pids.read_text().splitlines()):
        for _ in range(100):
            if not Path(f"/proc/{pid}").exists() or "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
                break
            time.sleep(0.05)
        else:
            pytest.fail(f"process {pid} goes on alone")
