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
from playground.shapes.data import Samples
from playground.shapes.export import export
from playground.shapes.questions import SHORT, ask
from playground.shapes.scene import make_scene, random_source
from playground.shapes.single_turn import AskedAlone, AskedCollator, asked_alone, visible
from playground.shapes.text import conversation, encode, prompt


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


def test_each_question_is_answered_as_in_a_prompt_of_its_own(
    tokenizer: LlamaTokenizer, llava: LlavaLlamaForCausalLM
) -> None:
    model = llava
    samples = Samples(asked_alone, tokenizer, length=3)
    batch = AskedCollator(tokenizer)([samples[number] for number in range(3)])
    assert len(set(batch["asked"].amax(dim=1).tolist())) > 1 or (batch["asked"] == -1).any()
    wanted, losses = [], []
    for number, pixels in enumerate(batch["images"]):
        scene, source = make_scene(0, "train", number), random_source(0, 200, number)
        for question in ask(scene, source, per_kind=2):
            talk = conversation([question])
            assert prompt(talk).count(SHORT) == 1
            ids, labels = encode(talk, tokenizer).values()
            outputs = model(input_ids=ids[None], labels=labels[None], images=pixels[None])
            told = int((labels != IGNORE_INDEX).sum())
            wanted.append(outputs.logits[0, -told - 1 : -1])
            losses.append(outputs.loss * told)

    found = AskedAlone(model)(**batch)

    torch.testing.assert_close(found["logits"], torch.cat(wanted), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["loss"], sum(losses) / len(found["logits"]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("stage", "changed", "judged"),
    [("gather", "vision_tower/model.safetensors", "attended"), ("alone", "model.safetensors", "all")],
)
def test_a_late_stage_goes_on_from_a_checkpoint_and_changes_its_own_part(
    stage: str,
    changed: str,
    judged: str,
    tokenizer: LlamaTokenizer,
    llava: LlavaLlamaForCausalLM,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    export(llava, Path(tokenizer.vocab_file), tmp_path / "model")
    flags = [f"--{stage}-only", tmp_path / "model", f"--{stage}-steps", 2, "--output", tmp_path / "run", "--threads", 1]
    monkeypatch.setattr(sys, "argv", ["train", *map(str, flags)])

    train.main()

    for name in ("model.safetensors", "config.json", "vision_tower/model.safetensors"):
        written = (tmp_path / "run/llava-shapes" / name).read_bytes()
        assert (written == (tmp_path / "model" / name).read_bytes()) is (name != changed)
    assert judged in json.loads((tmp_path / f"run/{stage}.held_out.jsonl").read_text())
    assert sorted(path.name for path in (tmp_path / "run").glob("*.held_out.jsonl")) == [f"{stage}.held_out.jsonl"]


def test_only_one_stage_can_be_the_only_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(sys, "argv", ["train", "--gather-only", "model", "--alone-only", "model"])

    with pytest.raises(SystemExit) as ended:
        train.main()

    assert ended.value.code == 2
    assert "--alone-only: not allowed with argument --gather-only" in capsys.readouterr().err
