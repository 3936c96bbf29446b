"""Runners share images between questions: in any order, with a store too small for them, after a killed run."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import call, loader_flags, records, texts
from conftest import PARITY, Load
from interleaved_questions import interleaved

from llava.eval.model_vqa_loader import read_questions
from llava.eval.runs import answering, llava_run
from llava.eval.runs.answers import AnswersFile
from llava.eval.runs.inputs import PreparedQuestions
from llava.eval.runs.ordered import OrderedAnswers
from llava.eval.runs.questions import Question
from llava.model import LlavaLlamaForCausalLM
from llava.model.generation import sharing
from llava.model.generation.one_prefix import start_beside
from llava.model.generation.prefix_store import PrefixStore
from llava.reduction import method_class

pytestmark = pytest.mark.shallow

METHODS = [["--retain", 32], ["--method", "pyramiddrop", "--retain", 192]]


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


def test_pictures_have_batches_of_their_own_where_one_prefix_is_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where their questions are half a batch; answers and their order are those of sdpa."""
    asked: list[list[int]] = []
    beside: list[int] = []
    answer = answering.Answering._answer_at_once
    monkeypatch.setattr(answering.Answering, "_answer_at_once", lambda *a: asked.append(a[1]) or answer(*a))
    monkeypatch.setattr(sharing, "start_beside", lambda *a: beside.extend([a[2]] * (a[2] > 1)) or start_beside(*a))
    interleaved(tmp_path, 12)
    pictures = [record["image"] for record in records(tmp_path / "questions.jsonl")]

    def run(*flags: Any) -> tuple[list[str], list[int]]:
        asked.clear()
        beside.clear()
        path = tmp_path / "a.jsonl"
        done = call("model_vqa_loader", capsys, *loader_flags(tmp_path, *flags, "--answers-file", path, "--overwrite"))
        assert done.code == 0 and [record["question_id"] for record in records(path)] == list(range(12))
        alone = [len(batch) for batch in asked if len({pictures[n] for n in batch}) == 1 and len(batch) > 1]
        return texts(path), alone

    here, shared = ["--retain", 32], ["--attn-implementation", "shared_prefix"]
    wanted, _ = run(*here, "--batch-size", 4)
    assert beside == []
    most = [pictures.count(name) for name in dict.fromkeys(pictures)]
    got, alone = run(*here, *shared, "--batch-size", 4)
    assert got == wanted and alone == beside == [min(4, count) for count in most if count > 1]
    monkeypatch.setattr(llava_run, "rows_that_fit", lambda *_: 2)  # a device that copies would fill
    got, alone = run(*here, *shared, "--batch-size", "auto")
    assert got == wanted and alone == beside == [count for count in most if count > 1]


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


@pytest.mark.parametrize("kernel", ["sdpa", "shared_prefix"])
def test_held_answers_survive_a_killed_run(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, encoded: list[int], kernel: str
) -> None:
    interleaved(tmp_path, 12)
    flags = loader_flags(tmp_path, "--retain", 32, "--batch-size", 3, "--attn-implementation", kernel)
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
