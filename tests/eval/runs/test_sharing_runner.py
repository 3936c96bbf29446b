"""Runners share images between questions: in any order, with a store too small for them, after a killed run."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import call, loader_flags, records, texts
from conftest import PARITY, Load

from llava.eval.model_vqa_loader import read_questions
from llava.eval.runs import answering, llava_run, memory
from llava.eval.runs.answers import AnswersFile
from llava.eval.runs.inputs import PreparedQuestions
from llava.eval.runs.ordered import OrderedAnswers
from llava.eval.runs.questions import Question
from llava.model import LlavaLlamaForCausalLM
from llava.model.generation import sharing
from llava.model.generation.one_prefix import start_beside
from llava.model.generation.prefix_store import PrefixStore
from llava.reduction import create, method_class

ASKED = ["What color is the circle?", "Is it a dog?\nAnswer the question using a single word or phrase.", "Où?", "Why?"]
METHODS = [["--retain", 32], ["--method", "pyramiddrop", "--retain", 192]]


def interleaved(folder: Path, count: int, seed: int = 0) -> None:
    """Questions about four pictures in random order."""
    chance = random.Random(seed)
    lines = [
        {"question_id": at, "image": f"{chance.randrange(4)}.png", "text": f"{chance.choice(ASKED)} {at}"}
        for at in range(count)
    ]
    (folder / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of images encoded by each call."""
    counts: list[int] = []
    whole = LlavaLlamaForCausalLM.encode_prefixes

    def counting(self: Any, prompts: Any, *rest: Any) -> Any:
        counts.append(len(prompts))
        return whole(self, prompts, *rest)

    monkeypatch.setattr(LlavaLlamaForCausalLM, "encode_prefixes", counting)
    return counts


@pytest.mark.parametrize("method", METHODS)
def test_answers_do_not_depend_on_what_is_shared(
    load: Load, tmp_path: Path, capsys: pytest.CaptureFixture, encoded: list[int], method: list
) -> None:
    interleaved(tmp_path, 9)
    wanted = []
    for flags in ([], ["--batch-size", "auto"], ["--batch-size", 4], ["--batch-size", 2, "--prefix-memory", 0]):
        encoded.clear()
        path = tmp_path / f"{len(wanted)}.jsonl"
        outcome = call("model_vqa_loader", capsys, *loader_flags(tmp_path, *method, *flags, "--answers-file", path))
        assert outcome.code == 0
        assert [record["question_id"] for record in records(path)] == list(range(9))
        assert not Path(f"{path}.held.jsonl").exists()
        wanted.append(texts(path))
        # Each picture once; without a store, once for every batch it is in.
        assert sum(encoded) == 4 if "--prefix-memory" not in flags else sum(encoded) > 4
    assert all(other == wanted[0] for other in wanted)
    # The answers of the model itself, asked one by one without sharing.
    loaded = load("llava-tiny-12l")
    asked = read_questions(str(tmp_path / "questions.jsonl"), str(PARITY / "images"))
    data = PreparedQuestions(asked, loaded.tokenizer, loaded.processor, loaded.model.config, "vicuna_v1")
    budget = int(method[-1])
    name = "visiondrop" if len(method) == 2 else "pyramiddrop"
    chosen = method_class(name).from_budget(budget, loaded.model.geometry)
    for number, text in enumerate(wanted[0]):
        ids, pixels, _ = data[number]
        new = loaded.model.generate(ids[None], images=[pixels], reduction=chosen, do_sample=False, max_new_tokens=3)
        assert loaded.tokenizer.decode(new[0], skip_special_tokens=True).strip() == text


def test_a_batch_about_one_picture_may_read_its_prefix_in_place(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []

    def start(config: Any, prefix: Any, count: int, room: int) -> Any:
        rows.append(count)
        return start_beside(config, prefix, count, room)

    monkeypatch.setattr(sharing, "start_beside", start)
    lines = [{"question_id": at, "image": f"{at // 4}.png", "text": ASKED[at % 4]} for at in range(8)]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    answers = []
    for kernel in ("sdpa", "shared_prefix"):
        path = tmp_path / f"{kernel}.jsonl"
        flags = ["--retain", 32, "--batch-size", 4, "--attn-implementation", kernel, "--answers-file", path]
        assert call("model_vqa_loader", capsys, *loader_flags(tmp_path, *flags)).code == 0
        answers.append(texts(path))
        assert rows == ([] if kernel == "sdpa" else [4, 4])
    assert answers[0] == answers[1]


def test_prefixes_let_go_in_the_middle_are_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, encoded: list[int]
) -> None:
    """The plan thinks that more prefixes are kept than are, so that pictures have to be read when they are missed."""
    interleaved(tmp_path, 12)
    call("model_vqa_loader", capsys, *loader_flags(tmp_path, "--retain", 32))
    assert sum(encoded) == 4
    encoded.clear()
    one = 12 * 2 * 48 * 4 * 70  # bytes: layers, keys and values, width, float32, about as many tokens
    monkeypatch.setattr(llava_run, "PrefixStore", lambda _: PrefixStore(2 * one))
    assert call("model_vqa_loader", capsys, *loader_flags(tmp_path, "--retain", 32, answers="b.jsonl")).code == 0
    assert 4 < sum(encoded) < 12
    assert texts(tmp_path / "b.jsonl") == texts(tmp_path / "answers/a.jsonl")


def test_held_answers_survive_a_killed_run(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, encoded: list[int]
) -> None:
    interleaved(tmp_path, 12)
    flags = loader_flags(tmp_path, "--retain", 32, "--batch-size", 3)
    path = tmp_path / "answers/a.jsonl"
    assert call("model_vqa_loader", capsys, *flags, "--answers-file", tmp_path / "whole.jsonl").code == 0
    whole, answer, batches = texts(tmp_path / "whole.jsonl"), answering.Answering.answer, []

    def two_then_stop(self: Any, numbers: list[int], items: Any) -> Any:
        if len(batches) == 2:
            raise KeyboardInterrupt
        batches.append(numbers)
        return answer(self, numbers, items)

    with monkeypatch.context() as patch:
        patch.setattr(answering.Answering, "answer", two_then_stop)
        assert call("model_vqa_loader", capsys, *flags).code == 130
    answered = sum(batches, [])
    held = [json.loads(line)["number"] for line in Path(f"{path}.held.jsonl").read_text().splitlines()]
    assert answered != sorted(answered) and sorted({*range(len(records(path))), *held}) == sorted(answered)
    with open(f"{path}.held.jsonl", "a") as torn:
        torn.write('{"number": 11, "rec')
    written, batches[:] = len(records(path)), []
    with monkeypatch.context() as patch:
        patch.setattr(answering.Answering, "answer", lambda *given: batches.append(given[1]) or answer(*given))
        again = call("model_vqa_loader", capsys, *flags)
    assert again.code == 0 and f"{written} of them from before" in again.out
    assert sorted(sum(batches, answered)) == list(range(12))  # nothing was asked again
    assert texts(path) == whole and not Path(f"{path}.held.jsonl").exists()


def test_compiled_answers_are_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    interleaved(tmp_path, 5)
    call("model_vqa_loader", capsys, *loader_flags(tmp_path, "--retain", 32))
    shapes: list[tuple] = []
    monkeypatch.setattr(torch, "compile", lambda layer, **_: shapes.append(()) or layer)
    flags = loader_flags(tmp_path, "--retain", 32, "--compile", "--batch-size", 2, answers="b.jsonl")
    assert call("model_vqa_loader", capsys, *flags).code == 0 and len(shapes) == 2
    assert texts(tmp_path / "b.jsonl") == texts(tmp_path / "answers/a.jsonl")


@pytest.mark.parametrize("seed", [0, 1])
def test_sampled_answers_are_the_same_after_an_interruption(
    tmp_path: Path, capsys: pytest.CaptureFixture, seed: int
) -> None:
    interleaved(tmp_path, 8, seed)
    hot = ["--temperature", 2.0, "--top_p", 0.95, "--retain", 32, "--batch-size", 3]
    call("model_vqa_loader", capsys, *loader_flags(tmp_path, *hot))
    path = tmp_path / "answers/a.jsonl"
    wanted = texts(path)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))
    call("model_vqa_loader", capsys, *loader_flags(tmp_path, *hot))
    assert texts(path) == wanted


def test_answers_in_any_order_are_written_in_the_order_of_the_questions(tmp_path: Path) -> None:
    asked = [Question("here", "Is it?", None, {"question_id": at}) for at in range(20)]
    given = {at: {"question_id": at, "text": "yes"} for at in range(20)}
    order = random.Random(1).sample(range(20), 20)
    path = tmp_path / "a.jsonl"
    for start in range(0, 20, 5):  # four runs
        with AnswersFile(str(path), {}) as file:
            answers = OrderedAnswers(file, asked)
            assert answers.known == set(order[:start]) or answers.known <= set(order[:start])
            for number in order[: start + 5]:
                answers.add({number: given[number]})
                written = [record["question_id"] for record in records(path)]
                assert written == list(range(len(written)))
    assert len(records(path)) == 20 and not Path(f"{path}.held.jsonl").exists()


def test_running_out_of_memory_halves_the_batch(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    interleaved(tmp_path, 9)
    call("model_vqa_loader", capsys, *loader_flags(tmp_path, "--retain", 32))
    ask, sizes = LlavaLlamaForCausalLM.ask, []

    def small_device(most: int, error: Exception) -> None:
        def limited(self: Any, prefix: Any, asked: Any, **kwargs: Any) -> Any:
            sizes.append(len(asked))
            if len(asked) > most:
                raise error
            return ask(self, prefix, asked, **kwargs)

        monkeypatch.setattr(LlavaLlamaForCausalLM, "ask", limited)

    cpu = RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried ...")
    for number, error in enumerate((torch.OutOfMemoryError("CUDA out of memory."), cpu, MemoryError())):
        sizes.clear()
        small_device(3, error)
        flags = loader_flags(tmp_path, "--retain", 32, "--batch-size", "auto", answers=f"{number}.jsonl")
        done = call("model_vqa_loader", capsys, *flags)
        assert done.code == 0 and sizes == [9, 4, 2, 2, 2, 2, 1]
        assert "out of memory with 9 questions at once; going on with 4" in done.out + done.err
        assert texts(tmp_path / f"{number}.jsonl") == texts(tmp_path / "answers/a.jsonl")
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


def test_as_many_questions_as_fit(load: Load) -> None:
    model = load("llava-tiny-12l").model
    method = create("visionzip", dominant=54, contextual=10)
    counts = [
        memory.rows_that_fit(model, method, model.geometry, 60, 16, 1, free) for free in (0, 10**7, 4 * 10**7, 10**12)
    ]
    assert counts[0] == 1 and counts[3] == 32 and counts == sorted(counts) and 1 < counts[2] < 32
    assert memory.rows_that_fit(model, create("none"), model.geometry, 60, 16, 1, 4 * 10**7) < counts[2]
    assert memory.rows_that_fit(model, method, model.geometry, 60, 16, 5, 4 * 10**7) < counts[2]
    assert memory.free_bytes(torch.device("cpu")) > 10**6


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
