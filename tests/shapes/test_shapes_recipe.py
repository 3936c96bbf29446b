"""The recipe as a command, on a miniature: all stages from nothing, also after a break, and one on a checkpoint."""

import dataclasses
import functools
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from llava.model import LlavaLlamaForCausalLM
from llava.model.builder import load_pretrained_model
from llava.model.tokenizer import LlamaTokenizer
from playground.shapes import train
from playground.shapes.check import held_out
from playground.shapes.curve import read_run
from playground.shapes.export import export
from playground.shapes.stages import STAGES

# Stages that llava.train runs.
LLAVAS = ("captions", "questions", "alone")


class Killed(Exception):
    """Stands for the end of a process."""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The recipe with two pictures a step, two a judgement, and the smallest networks."""
    monkeypatch.setattr(train, "STAGES", tuple(dataclasses.replace(stage, batch=2) for stage in STAGES))
    monkeypatch.setattr(train, "TowerWithTeacher", functools.partial(train.TowerWithTeacher, width=32, layers=2))
    monkeypatch.setattr(train, "build_llava", functools.partial(train.build_llava, width=32, layers=2))
    monkeypatch.setattr(train, "held_out", lambda tokenizer, pictures: held_out(tokenizer, 2))
    return monkeypatch


def run(monkeypatch: pytest.MonkeyPatch, *flags: object) -> None:
    monkeypatch.setattr(sys, "argv", ["train", *map(str, flags), "--threads", str(torch.get_num_threads())])
    train.main()


def exported(folder: Path) -> dict[str, bytes]:
    names = ("model.safetensors", "config.json", "vision_tower/model.safetensors", "tokenizer.model")
    return {name: (folder / "llava-shapes" / name).read_bytes() for name in names}


@pytest.mark.long
def test_all_stages_from_nothing_and_again_after_a_break(
    small: pytest.MonkeyPatch, vocabulary: Path, tmp_path: Path
) -> None:
    steps = [word for stage in STAGES for word in (f"--{stage.name}-steps", 2)]
    for name in ("whole", "torn"):
        (tmp_path / name).mkdir()
        shutil.copy(vocabulary / "tokenizer.model", tmp_path / name)

    run(small, "--output", tmp_path / "whole", *steps)

    log = read_run(tmp_path / "whole")
    assert list(log) == [stage.name for stage in STAGES]
    assert {name for name, part in log.items() if part["held_out"]} == {"tower", "questions", "gather", "alone"}
    for name in LLAVAS:  # each leaves a LLaVA, as training by its command does
        _, llava, _, _ = load_pretrained_model(
            str(tmp_path / f"whole/{name}/checkpoint-2"), None, "llava", device="cpu"
        )
        assert isinstance(llava, LlavaLlamaForCausalLM) and llava.get_vision_tower().is_loaded

    def broken(*_: object) -> None:
        raise Killed

    with small.context() as one, pytest.raises(Killed):
        one.setattr(train, "gather", broken)
        run(small, "--output", tmp_path / "torn", *steps)
    run(small, "--output", tmp_path / "torn", *steps)
    assert exported(tmp_path / "torn") == exported(tmp_path / "whole")


@pytest.mark.parametrize(
    ("stage", "changed", "judged"),
    [("gather", "vision_tower/model.safetensors", "attended"), ("alone", "model.safetensors", "all")],
)
def test_a_late_stage_goes_on_from_a_checkpoint_and_changes_its_own_part(
    stage: str,
    changed: str,
    judged: str,
    small: pytest.MonkeyPatch,
    tokenizer: LlamaTokenizer,
    llava: LlavaLlamaForCausalLM,
    tmp_path: Path,
) -> None:
    export(llava, Path(tokenizer.vocab_file), tmp_path / "llava-shapes")
    before = exported(tmp_path)
    (tmp_path / "run").mkdir()
    shutil.copy(tokenizer.vocab_file, tmp_path / "run/tokenizer.model")

    run(small, f"--{stage}-only", tmp_path / "llava-shapes", f"--{stage}-steps", 2, "--output", tmp_path / "run")

    after = exported(tmp_path / "run")
    assert {name for name in before if after[name] != before[name]} == {changed}
    assert judged in json.loads((tmp_path / f"run/{stage}.held_out.jsonl").read_text())
    assert sorted(path.name for path in (tmp_path / "run").glob("*.held_out.jsonl")) == [f"{stage}.held_out.jsonl"]


def test_only_one_stage_can_be_the_only_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "--gather-only", "model", "--alone-only", "model")

    assert ended.value.code == 2
    assert "--alone-only: not allowed with argument --gather-only" in capsys.readouterr().err
