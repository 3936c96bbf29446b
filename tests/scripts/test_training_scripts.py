"""The recipes of training: published settings, the global batch on any number of devices, settings from outside."""

import json
import subprocess
from pathlib import Path

import pytest

from llava.train.flags import parse

SCRIPTS = Path(__file__).parents[2] / "scripts"
RECIPES = {
    "v1_5/pretrain": (256, 32, "1e-3", "plain"),
    "v1_5/finetune": (128, 16, "2e-5", "v1"),
    "v1_5/finetune_lora": (128, 16, "2e-4", "v1"),
    "v1_5/finetune_task": (128, 16, "2e-5", "v1"),
    "v1_5/finetune_task_lora": (128, 16, "2e-4", "v1"),
    "v1_6/pretrain": (256, 8, "1e-3", "plain"),
    "v1_6/finetune": (128, 4, "2e-5", "v1"),
    "v1_5/pyramiddrop_train/pretrain": (256, 32, "1e-3", "plain"),
    "v1_5/pyramiddrop_train/finetune": (128, 16, "2e-5", "v1"),
    "v1_6/pyramiddrop_train/pretrain": (256, 8, "1e-3", "plain"),
    "v1_6/pyramiddrop_train/finetune": (128, 4, "2e-5", "v1"),
    "v1_5/visiondrop_train/pretrain": (256, 32, "1e-3", "plain"),
    "v1_5/visiondrop_train/finetune": (128, 16, "2e-5", "v1"),
    "v1_5/visiondrop_train/finetune_lora": (128, 16, "2e-4", "v1"),
    "v1_5/visiondrop_train/finetune_task_lora": (128, 16, "2e-4", "v1"),
}
# Stands for Python: says what it was called with, and that there is no DeepSpeed.
PYTHON = '#!/usr/bin/env bash\n[[ "$1" != -c ]] || exit 1\nprintf "%s\\n" "$@"\n'


def run(folder: Path, recipe: str, *more: str, **settings: str) -> subprocess.CompletedProcess[str]:
    stub = folder / "python"
    stub.write_text(PYTHON)
    stub.chmod(0o755)
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": str(stub), "DATA": "my.json", "BF16": "False", **settings}
    return subprocess.run(
        ["bash", str(SCRIPTS / f"{recipe}.sh"), *more], capture_output=True, text=True, env=environment
    )


def flags_of(ended: subprocess.CompletedProcess[str]) -> list[str]:
    assert ended.returncode == 0, ended.stderr
    words = ended.stdout.splitlines()
    return words[words.index("llava.train.train") + 1 :]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_says_what_is_published(recipe: str, tmp_path: Path) -> None:
    samples, at_once, rate, template = RECIPES[recipe]
    whole, single = flags_of(run(tmp_path, recipe, DEVICES="8")), flags_of(run(tmp_path, recipe))
    for flags, devices in ((whole, 8), (single, 1)):
        given = {flag: flags[at + 1] for at, flag in enumerate(flags) if flag.startswith("--")}
        once, steps = int(given["--per_device_train_batch_size"]), int(given["--gradient_accumulation_steps"])
        assert once * steps * devices == samples and once == at_once
        assert given["--learning_rate"] == rate and given["--version"] == template
    tiny = Path(__file__).parents[1] / "parity/llava-tiny"
    model = ["--model_name_or_path", str(tiny), "--gradient_checkpointing", "False", "--use_cpu", "True"]
    made = parse([*single, *model])
    assert made.method.name == next((name for name in ("pyramiddrop", "visiondrop") if name in recipe), "none")
    assert made.training.max_grad_norm == 0 and made.training.warmup_steps == 0.03


@pytest.mark.parametrize("name", ["zero2", "zero3", "zero3_offload"])
def test_deepspeed_clips_as_the_flags_say(name: str) -> None:
    """Without a word in its file DeepSpeed clips at 1 today; when LLaVA was published, it did not clip."""
    assert json.loads((SCRIPTS / f"{name}.json").read_text())["gradient_clipping"] == "auto"


def test_settings_come_from_outside(tmp_path: Path) -> None:
    said = flags_of(
        run(
            tmp_path,
            "v1_5/finetune",
            *("--max_steps", "3"),
            **{"MODEL": "here/vicuna", "PROJECTOR": "mm.bin", "METHOD": "visionzip", "RETAIN": "64", "BATCH": "4"},
        )
    )
    for flag, value in {
        "--model_name_or_path": "here/vicuna",
        "--pretrain_mm_mlp_adapter": "mm.bin",
        "--method": "visionzip",
        "--retain": "64",
        "--gradient_accumulation_steps": "32",
    }.items():
        assert said[said.index(flag) + 1] == value
    assert said[-2:] == ["--max_steps", "3"]


def test_several_machines_are_one_run(tmp_path: Path) -> None:
    ended = run(tmp_path, "v1_6/finetune", DEVICES="8", NODES="4", NODE_RANK="2", MASTER_ADDR="first")
    assert ended.stdout.splitlines()[:12] == [
        *("-m", "torch.distributed.run", "--nnodes", "4", "--nproc_per_node", "8"),
        *("--node_rank", "2", "--master_addr", "first", "--master_port", "29500"),
    ]
    assert "128 samples a step, 4 at once on 32 devices, accumulated 1 times" in ended.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"DATA": ""}, "DATA must name LLaVA's JSON"),
        ({"DEVICES": "0"}, "DEVICES must be a whole number of at least 1"),
        ({"DEVICES": "a[$(touch gone)]"}, "DEVICES must be a whole number"),
        ({"DEVICES": "3"}, "GLOBAL_BATCH must be shared out evenly"),
        ({"SHARDING": "zero9"}, "SHARDING must be zero2, zero3"),
        ({"DEVICES": "6"}, "a multiple of 6"),
        ({"GLOBAL_BATCH": "08"}, "GLOBAL_BATCH must be a whole number"),
        ({"NODES": "2"}, "MASTER_ADDR must name the first of 2 machines"),
        ({"NODES": "2", "MASTER_ADDR": "first"}, "NODE_RANK must be this machine's number, from 0 to 1"),
        ({"NODES": "2", "MASTER_ADDR": "first", "NODE_RANK": "2"}, "NODE_RANK must be"),
        ({"NODES": "2", "MASTER_ADDR": "first", "NODE_RANK": "a[$(touch gone)]"}, "NODE_RANK must be"),
    ],
)
def test_bad_settings_end_in_one_line(settings: dict[str, str], said: str, tmp_path: Path) -> None:
    ended = run(tmp_path, "v1_5/finetune", **settings)
    assert ended.returncode == 2 and said in ended.stderr and not ended.stdout
    assert len(ended.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("recipe", "settings", "output", "method"),
    [
        ("v1_5/finetune", {}, "llava-v1.5-finetune", []),
        ("v1_5/finetune", {"METHOD": "none"}, "llava-v1.5-finetune", ["none"]),
        ("v1_5/pyramiddrop_train/finetune", {}, "llava-v1.5-finetune-pyramiddrop", ["pyramiddrop"]),
        ("v1_5/visiondrop_train/finetune", {}, "llava-v1.5-finetune-visiondrop-64", ["visiondrop", "64"]),
        ("v1_5/visiondrop_train/finetune", {"RETAIN": "32"}, "llava-v1.5-finetune-visiondrop-32", ["visiondrop", "32"]),
        ("v1_5/visiondrop_train/finetune", {"METHOD": "none"}, "llava-v1.5-finetune", ["none"]),
        ("v1_5/visiondrop_train/finetune", {"PRESET": "paper-64"}, "llava-v1.5-finetune-visiondrop", ["visiondrop"]),
    ],
)
def test_methods_have_folders_of_their_own(
    recipe: str, settings: dict[str, str], output: str, method: list[str], tmp_path: Path
) -> None:
    """In one folder the second run would go on from the first one's checkpoint."""
    said = flags_of(run(tmp_path, recipe, **settings))
    assert said[said.index("--output_dir") + 1] == f"checkpoints/{output}"
    assert [said[said.index(flag) + 1] for flag in ("--method", "--retain") if flag in said] == method


def test_slurm_says_which_machine_is_the_first(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/scontrol").write_text("#!/usr/bin/env bash\n[[ $3 == 'n[7-8]' ]] && printf 'n7\\nn8\\n'\n")
    (tmp_path / "bin/scontrol").chmod(0o755)
    slurm = {"SLURM_NNODES": "2", "SLURM_NODEID": "1", "SLURM_JOB_NODELIST": "n[7-8]"}
    ended = run(tmp_path, "v1_5/finetune", PATH=f"{tmp_path}/bin:/usr/bin:/bin", DEVICES="4", **slurm)
    words = ended.stdout.splitlines()
    assert words[words.index("--node_rank") + 1] == "1" and words[words.index("--master_addr") + 1] == "n7"
