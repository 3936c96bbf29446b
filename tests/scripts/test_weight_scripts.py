"""Scripts that write weights: what they write loads, and gives the answers of what it was made of."""

import json
from pathlib import Path

import pytest
import torch
from checkpoints import TINY, answer, copied, load, lora_on_base, plain_base, store, tensors, trained_folder
from commands import call_script

from llava.errors import InputError
from llava.model.checkpoint.tensors import read_file


def test_merged_weights_answer_as_the_adapter_on_its_base(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    base, trained = lora_on_base(tmp_path)
    merged = tmp_path / "out" / "llava-my-task-lora-merged"
    flags = ("--model-path", trained, "--model-base", base, "--save-model-path", merged)
    assert call_script("merge_lora_weights", capsys, *flags).code == 0
    wanted = load(trained, base, name="llava", torch_dtype=torch.float16)
    again = load(merged, name=merged.name, torch_dtype=torch.float16)
    assert torch.equal(answer(again), answer(wanted))
    assert json.loads((merged / "config.json").read_text())["dtype"] == "float16"
    assert (merged / "preprocessor_config.json").is_file()
    refused = call_script("merge_lora_weights", capsys, *flags[:-1], trained)
    assert refused.code == 2 and "holds an adapter; give --save-model-path another one" in refused.err
    refused = call_script("merge_lora_weights", capsys, *flags[:1], TINY, *flags[2:])
    assert refused.code == 2 and "it holds a whole model; leave model_base (--model-base) out" in refused.err


@pytest.mark.parametrize("kind", ["bin", "safetensors"])
@pytest.mark.parametrize("shards", [1, 3])
def test_the_projector_loads_on_its_base(tmp_path: Path, capsys: pytest.CaptureFixture, kind: str, shards: int) -> None:
    full = copied(tmp_path / "llava")
    store(full, tensors(full), kind, shards)
    trained = trained_folder(tmp_path / "projector")
    done = call_script("extract_mm_projector", capsys, "--model-path", full, "--output", trained / "mm_projector.bin")
    assert done.code == 0 and len(done.out.split()) == 4
    assert (trained / "mm_projector.bin").stat().st_size < 20_000
    held = read_file(str(trained / "mm_projector.bin"))
    assert all(torch.equal(tensor, tensors(TINY)[name]) for name, tensor in held.items()) and len(held) == 4
    assert torch.equal(answer(load(trained, plain_base(tmp_path / "vicuna"), name="llava")), answer(load(TINY)))


def test_what_has_no_projector(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    flags = ("--model_name_or_path", plain_base(tmp_path / "vicuna"), "--output", tmp_path / "x.bin")
    done = call_script("extract_mm_projector", capsys, *flags)
    assert done.code == 2 and "has mm_projector or vision_resampler in its name" in done.err
    assert not (tmp_path / "x.bin").exists()


@pytest.mark.parametrize("held", [[1, 2], {"a": [1]}, {1: torch.zeros(1)}, torch.zeros(2), "x"])
def test_files_that_hold_something_else(tmp_path: Path, held: object) -> None:
    torch.save(held, tmp_path / "x.bin")
    with pytest.raises(InputError, match="weights of '.*x.bin' cannot be read: .*copy the checkpoint again"):
        read_file(str(tmp_path / "x.bin"))
