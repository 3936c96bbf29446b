"""Choices in 16 bits against float32's."""

import json
from pathlib import Path

import pytest
import torch
from commands import TINY, call, questions
from conftest import PARITY, Load, sample

from llava.eval.device.choices import agreement, choices
from llava.eval.precision import compare
from llava.model.trace import Trace
from llava.reduction import create

pytestmark = pytest.mark.shallow

DROP = {"dominant": 50, "contextual": 14, "layer_list": [2, 5, 9], "image_token_list": [[33, 7], [20, 5], [9, 1]]}


def test_agreement_is_the_share_of_the_exact_choice() -> None:
    exact = [[1, 2, 3, 4], ["cls", 2]]
    assert agreement(exact, exact) == [1, 1]
    assert agreement(exact, [[4, 3, 9, 8], [2, ("encoder", 0)]]) == [0.5, 0.5]
    got = compare([exact, exact], [exact, [[1, 2, 3, 9], ["cls", 2]]], ["encoder", "layer 8"])
    assert got == {"equal": (4 + 2 + 3 + 2) / 12, "pictures_equal": 0.5, "stages": {"encoder": 0.875, "layer 8": 1}}


@torch.no_grad()
def test_a_token_keeps_its_name_through_the_stages(load: Load) -> None:
    loaded = load("llava-tiny-12l", "visiondrop", **DROP)
    asked, trace = sample(loaded, "Is it?", "0.png"), Trace()
    loaded.model(asked.input_ids, images=asked.images, trace=trace)
    encoder, *stages = choices(trace)
    assert [len(encoder), *map(len, stages)] == [49, 33, 20, 9]
    start, embeds = trace.layout.spans[0].start, trace.inputs_embeds[0]
    names = ["cls", *encoder, *(("encoder", at) for at in range(14))]
    assert stages[0] == [names[at] for at in trace.stages[0].selection.kept[0].tolist()]
    # A dominant token of the last stage is what the encoder gave under its name, moved through the layers.
    assert set(stages[2]) <= set(stages[1]) | {(5, at) for at in range(5)}
    assert embeds.shape[0] == start + 64 + (asked.input_ids.shape[1] - 1 - start)
    pyramid = Trace()
    method = create("pyramiddrop", layer_list=[2, 5, 9], image_token_ratio_list=[0.6, 0.3, 0.1])
    loaded.model(asked.input_ids, images=asked.images, trace=pyramid, reduction=method)
    assert [len(stage) for stage in choices(pyramid)] == [345, 172, 57]
    assert set(choices(pyramid)[2]) < set(choices(pyramid)[1]) < set(choices(pyramid)[0]) < set(range(576))


def test_command_compares_both_dtypes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    questions(tmp_path, 6)
    flags = ["--question-file", tmp_path / "questions.jsonl", "--image-folder", PARITY / "images", "--device", "cpu"]
    done = call("precision", capsys, "--model-path", TINY, *flags, "--retain", 32, "--json", tmp_path / "p.json")
    assert done.code == 0
    result = json.loads(done.out.splitlines()[-1])
    assert result == json.loads((tmp_path / "p.json").read_text()) and result["pictures"] == 4
    for name in ("float16", "bfloat16"):
        shares = result["dtypes"][name]
        assert list(shares["stages"]) == ["encoder", "layer 3", "layer 6", "layer 9"]
        assert 0.5 < shares["equal"] <= 1
    assert result["dtypes"]["float16"]["equal"] >= result["dtypes"]["bfloat16"]["equal"]
    refused = call("precision", capsys, "--model-path", TINY, *flags)
    assert refused.code == 2 and "none keeps all" in refused.err
    tiled = call("precision", capsys, "--model-path", PARITY / "llava-tiny-next", *flags, "--retain", 320)
    assert tiled.code == 2 and "makes up to 5" in tiled.err
