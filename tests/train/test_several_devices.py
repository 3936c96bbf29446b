"""Two processes that train together end where one does that takes their batches in turn."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training_runs import flags, write_data

from llava.errors import InputError
from llava.train.flags import parse
from llava.train.train import make_trainer

PAIR = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
METHODS = {"none": (), "visionzip": ("--method", "visionzip", "--retain", "64")}


def run(command: list[str]) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stderr[-3000:]


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    data = write_data(tmp_path)
    both = ("--per_device_train_batch_size", "1", "--max_grad_norm", "0")
    alone = flags(tmp_path / "one", *both, "--gradient_accumulation_steps", "2", data=data)
    run([sys.executable, "-m", "llava.train.train", *alone])
    run([*PAIR, "-m", "llava.train.train", *flags(tmp_path / "two", *both, "--ddp_backend", "gloo", data=data)])
    one, two = (load_file(tmp_path / name / "out/model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=2e-6, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_shared_out_weights_have_the_same_gradients(method: str, tmp_path: Path) -> None:
    given = flags(tmp_path, *METHODS[method], data=write_data(tmp_path))
    step = Path(__file__).with_name("sharded_step.py")
    run([*PAIR, str(step), str(tmp_path), *given, "--ddp_backend", "gloo"])
    shared = load_file(tmp_path / "gradients.safetensors")
    trainer = make_trainer(parse(given))
    model = trainer.llava.train()
    for sample in (0, 1):  # the mean over processes is that of their means
        (model(**trainer.data_collator([trainer.train_dataset[sample]])).loss / 2).backward()
    own = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert own.keys() == shared.keys() and len(own) > 200
    for name, gradient in own.items():
        torch.testing.assert_close(shared[name], gradient, atol=2e-5 * float(gradient.abs().max()), rtol=0)


def test_sharding_on_a_cpu_is_refused(tmp_path: Path) -> None:
    """accelerate would train by DDP there without a word."""
    with pytest.raises(InputError, match="--fsdp"):
        parse(flags(tmp_path, "--fsdp", "full_shard"))


def test_layers_whose_weights_are_shared_out_cannot_be_asked(tmp_path: Path) -> None:
    """Processes whose batches hold no picture would not gather them, and all would wait for ever."""
    more = ("--use_cpu", "False", "--method", "visiondrop", "--retain", "64")
    with pytest.raises(InputError, match="train with DDP or DeepSpeed"):
        parse(flags(tmp_path, *more, "--fsdp", "full_shard"))
