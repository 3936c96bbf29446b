"""The last stage of the recipe: questions that share a picture's tokens are answered as if each were asked alone."""

import json
import sys
from pathlib import Path

import pytest
import torch

from llava.constants import IGNORE_INDEX
from llava.model import LlavaLlamaForCausalLM
from llava.model.tokenizer import LlamaTokenizer
from playground.shapes import train
from playground.shapes.alone import AskedAlone, asked_alone, visible
from playground.shapes.data import Samples, collate
from playground.shapes.export import export
from playground.shapes.models import build_llava
from playground.shapes.questions import SHORT, ask
from playground.shapes.scene import make_scene, random_source
from playground.shapes.text import conversation, encode_conversation, read_tokenizer, train_tokenizer
from playground.shapes.tower import TowerWithTeacher


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> LlamaTokenizer:
    folder = tmp_path_factory.mktemp("vocabulary")
    train_tokenizer(folder)
    return read_tokenizer(folder)


def llava() -> LlavaLlamaForCausalLM:
    torch.manual_seed(0)
    return build_llava(TowerWithTeacher(width=64, layers=3).clip.config.vision_config, width=32, layers=2)


def test_a_token_sees_what_is_shared_and_its_own_question() -> None:
    assert visible(torch.tensor([[0, 0, 1, 1, 2, -1]])).int().tolist() == [
        [
            [1, 0, 0, 0, 0, 0],
            [1, 1, 0, 0, 0, 0],
            [1, 1, 1, 0, 0, 0],
            [1, 1, 1, 1, 0, 0],
            [1, 1, 0, 0, 1, 0],
            [1, 1, 0, 0, 0, 1],
        ]
    ]


def test_each_question_is_answered_as_in_a_prompt_of_its_own(tokenizer: LlamaTokenizer) -> None:
    model = llava()
    samples = Samples(asked_alone, tokenizer, length=3)
    batch = collate([samples[number] for number in range(3)])
    assert len(set(batch["asked"].amax(dim=1).tolist())) > 1 or (batch["asked"] == -1).any()
    wanted, losses = [], []
    for number, pixels in enumerate(batch["images"]):
        scene, source = make_scene(0, "train", number), random_source(0, 200, number)
        for question in ask(scene, source, per_kind=2):
            text = conversation([question])
            assert text.count(SHORT) == 1
            ids, labels = encode_conversation(text, tokenizer)
            outputs = model(input_ids=ids[None], labels=labels[None], images=pixels[None])
            told = int((labels != IGNORE_INDEX).sum())
            wanted.append(outputs.logits[0, -told - 1 : -1])
            losses.append(outputs.loss * told)

    found = AskedAlone(model)(**batch)

    torch.testing.assert_close(found["logits"], torch.cat(wanted), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["loss"], sum(losses) / len(found["logits"]), rtol=1e-5, atol=1e-6)


def test_the_stage_alone_leaves_the_tower_as_it_was(
    tokenizer: LlamaTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(llava(), Path(tokenizer.vocab_file), tmp_path / "model")
    flags = ["--alone-only", tmp_path / "model", "--output", tmp_path / "run", "--alone-steps", 2, "--threads", 1]
    monkeypatch.setattr(sys, "argv", ["train", *map(str, flags)])

    train.main()

    for name, same in (("model.safetensors", False), ("config.json", True), ("vision_tower/model.safetensors", True)):
        written = (tmp_path / "run/llava-shapes" / name).read_bytes()
        assert (written == (tmp_path / "model" / name).read_bytes()) is same
    assert json.loads((tmp_path / "run/alone.held_out.jsonl").read_text())["step"] == 2
    assert not (tmp_path / "run/gather").exists()
