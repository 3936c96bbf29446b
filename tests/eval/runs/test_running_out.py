"""Runs take as many questions at once as memory has room for, and fewer where that was too many."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from commands import call, loader_flags, records, texts
from conftest import Load
from interleaved_questions import interleaved
from safetensors.torch import load_file, save_file

from llava.eval.runs import llava_run, memory
from llava.model import LlavaLlamaForCausalLM
from llava.model.generation.prefix_store import PrefixStore
from llava.reduction import create

pytestmark = pytest.mark.shallow
FREE = (0, 2 * 10**7, 4 * 10**7, 6 * 10**7, 10**12)


def test_running_out_of_memory_halves_the_batch(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    interleaved(tmp_path, 9)
    call("model_vqa_loader", capsys, *loader_flags(tmp_path, "--retain", 32))
    ask, sizes = LlavaLlamaForCausalLM.ask, []

    def small_device(most: int, *errors: Exception) -> None:
        def limited(self: Any, prefix: Any, asked: Any, **kwargs: Any) -> Any:
            sizes.append(len(asked))
            if len(asked) > most:
                raise errors[(len(sizes) - 1) % len(errors)]
            return ask(self, prefix, asked, **kwargs)

        monkeypatch.setattr(LlavaLlamaForCausalLM, "ask", limited)

    cpu = RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried ...")
    small_device(1, torch.OutOfMemoryError("CUDA out of memory."), cpu, MemoryError())
    flags = loader_flags(tmp_path, "--retain", 32, "--batch-size", "auto", answers="b.jsonl")
    done = call("model_vqa_loader", capsys, *flags)
    assert done.code == 0 and sizes == [9, 4, 2] + [1] * 9
    assert "out of memory with 9 questions at once; going on with 4" in done.out + done.err
    assert texts(tmp_path / "b.jsonl") == texts(tmp_path / "answers/a.jsonl")
    small_device(0, cpu)
    done = call("model_vqa_loader", capsys, *loader_flags(tmp_path, "--retain", 32, answers="c.jsonl"))
    assert done.code == 2 and "error: one question must fit into memory: it does not; keep fewer" in done.err
    small_device(0, RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        call("model_vqa_loader", capsys, *loader_flags(tmp_path, "--retain", 32, answers="d.jsonl"))


def test_what_was_answered_before_memory_ran_out_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    interleaved(tmp_path, 9)
    ask, sizes = LlavaLlamaForCausalLM.ask, []

    def shrinking(self: Any, prefix: Any, asked: Any, **kwargs: Any) -> Any:
        sizes.append(len(asked))
        if len(asked) > 2 or len(sizes) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return ask(self, prefix, asked, **kwargs)

    monkeypatch.setattr(LlavaLlamaForCausalLM, "ask", shrinking)
    flags = loader_flags(tmp_path, "--retain", 32, "--batch-size", 9)
    done = call("model_vqa_loader", capsys, *flags)
    path = tmp_path / "answers/a.jsonl"
    assert done.code == 2 and sizes == [9, 4, 2, 2, 2, 1, 1]
    held = Path(f"{path}.held.jsonl")
    assert len(records(path)) + (held.read_text().count("\n") if held.exists() else 0) == 4
    monkeypatch.setattr(LlavaLlamaForCausalLM, "ask", ask)
    assert call("model_vqa_loader", capsys, *flags).code == 0 and len(records(path)) == 9


def test_running_out_with_one_prefix_halves_what_reads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    interleaved(tmp_path, 9)
    flags = loader_flags(tmp_path, "--retain", 32, "--attn-implementation", "shared_prefix", "--batch-size")
    assert call("model_vqa_loader", capsys, *flags, 1).code == 0
    ask, tried = LlavaLlamaForCausalLM.ask, []

    def limited(most_alone: int, most: int) -> None:
        def small(self: Any, prefix: Any, asked: Any, **kwargs: Any) -> Any:
            alone = all(one is prefix[0] for one in prefix)
            tried.append((alone, len(asked)))
            if len(asked) > (most_alone if alone else most):
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return ask(self, prefix, asked, **kwargs)

        tried.clear()
        monkeypatch.setattr(LlavaLlamaForCausalLM, "ask", small)

    for number, (most_alone, most) in enumerate([(9, 1), (2, 9)]):
        limited(most_alone, most)
        done = call("model_vqa_loader", capsys, *flags, 6, "--answers-file", tmp_path / f"{number}.jsonl")
        assert done.code == 0 and texts(tmp_path / f"{number}.jsonl") == texts(tmp_path / "answers/a.jsonl")
        if most_alone == 9:  # a batch about several pictures halves no other
            assert tried[0] == (False, 5) and max(count for alone, count in tried[1:] if not alone) <= 2
            assert tried[-1] == (True, 4)
        else:
            assert tried == [(False, 5), (True, 4), (True, 2), (True, 2)]


def test_one_prefix_leaves_room_for_more_questions(load: Load) -> None:
    model = load("llava-tiny-12l").model
    for method in (create("none"), create("visionzip", dominant=54, contextual=10)):
        asked = model, method, model.geometry, 60, 16
        each = [(memory.rows_that_fit(*asked, 1, free), memory.rows_of_one_picture(*asked, free)) for free in FREE]
        assert each[0] == (1, 1) and each[-1] == (32, 32)
        assert all(copied <= shared for copied, shared in each) and any(copied < shared < 32 for copied, shared in each)


def test_as_many_questions_as_fit(load: Load) -> None:
    model = load("llava-tiny-12l").model
    method = create("visionzip", dominant=54, contextual=10)
    counts = [
        memory.rows_that_fit(model, method, model.geometry, 60, 16, 1, free) for free in (0, 10**7, 4 * 10**7, 10**12)
    ]
    assert counts[0] == 1 and counts[3] == 32 and counts == sorted(counts) and 1 < counts[2] < 32
    assert memory.rows_that_fit(model, create("none"), model.geometry, 60, 16, 1, 4 * 10**7) < counts[2]
    assert memory.rows_that_fit(model, method, model.geometry, 60, 16, 5, 4 * 10**7) < counts[2]


def test_what_a_cpu_can_give_is_not_what_a_checkpoint_lies_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are only remembered make way, those that this process has mapped do not."""
    cpu, machine = torch.device("cpu"), SimpleNamespace(available=10**9, free=1)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: machine)
    before = memory.free_bytes(cpu)
    assert 0 < before <= 10**9
    save_file({"weights": torch.zeros(2**26, dtype=torch.uint8)}, tmp_path / "weights.safetensors")
    held = load_file(tmp_path / "weights.safetensors")["weights"]
    assert held.sum() == 0  # reads every page
    assert memory.free_bytes(cpu) <= before - 2**25
    assert memory.free_bytes(cpu, 4) <= before // 4
    machine.available = 0
    assert memory.free_bytes(cpu) == 0


def test_runs_that_share_a_device_share_what_is_free(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    interleaved(tmp_path, 1)
    monkeypatch.setattr(memory, "_free_now", lambda _: 4 * 10**9)
    limits = []
    monkeypatch.setattr(llava_run, "PrefixStore", lambda limit: limits.append(limit) or PrefixStore(limit))
    for share in (1, 4):
        flags = loader_flags(tmp_path, "--device-share", share, answers=f"{share}.jsonl")
        assert call("model_vqa_loader", capsys, *flags).code == 0
    assert limits == [10**9, 25 * 10**7]
