"""Scores and similarities are float32 whatever surrounds a call: autocast changes no choice."""

from collections.abc import Iterator

import pytest
import torch
from conftest import Loaded, sample
from shallow import shallow

from llava.model.builder import load_pretrained_model
from llava.model.evidence import clip, llama
from llava.model.trace import Trace
from llava.reduction import Reduction, create
from llava.reduction.merging import merge_rest
from llava.reduction.scoring import attention_rows

METHODS = {
    "visiondrop": create(
        "visiondrop", dominant=42, contextual=6, layer_list=[3, 6, 9], image_token_list=[[30, 5], [22, 4], [16, 3]]
    ),
    "visionzip": create("visionzip", dominant=54, contextual=10),
    "pyramiddrop": create("pyramiddrop", layer_list=[3, 6, 9]),
    "random": create("random", keep=32),
}


@pytest.fixture(scope="module", params=[torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def half(request: pytest.FixtureRequest) -> Iterator[Loaded]:
    """The 12-layer checkpoint in half precision."""
    settings = {"device": "cpu", "torch_dtype": request.param}
    yield Loaded(*load_pretrained_model(str(shallow("llava-tiny-12l")), None, "llava-tiny", **settings))


def chosen(loaded: Loaded, method: Reduction, inside: torch.dtype | None) -> list:
    """Indices kept and slots joined, in the encoder and at each LLM stage."""
    asked, trace = sample(loaded, "What is this?", "0.png"), Trace()
    with torch.no_grad(), torch.autocast("cpu", dtype=inside or torch.bfloat16, enabled=inside is not None):
        loaded.model(asked.input_ids, images=asked.images, reduction=method, trace=trace)
    selections = [trace.encoder, *(stage.selection for stage in trace.stages)]
    return [
        (one.kept.tolist(), one.merged.assignment.tolist() if one.merged is not None else None)
        for one in selections
        if one is not None
    ]


@pytest.mark.parametrize("name", METHODS)
def test_a_choice_inside_autocast_is_that_outside(half: Loaded, name: str) -> None:
    outside = chosen(half, METHODS[name], None)
    assert outside and outside == chosen(half, METHODS[name], half.model.dtype)


def test_rows_are_float32_for_a_float32_model_too(half: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = []

    def spied(*arguments: torch.Tensor) -> torch.Tensor:
        rows = attention_rows(*arguments)
        kinds.append(rows.dtype)
        return rows

    for room in (clip, llama):
        monkeypatch.setattr(room, "attention_rows", spied)
    chosen(half, METHODS["visiondrop"], half.model.dtype)
    assert kinds == [torch.float32] * 4


@pytest.mark.parametrize("inside", [torch.bfloat16, torch.float16])
def test_scoring_and_merging_do_not_see_autocast(inside: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    queries, keys = (torch.randn(2, 4, 9, 8, generator=generator) for _ in range(2))
    values, rest = torch.randn(2, 9, 16, generator=generator), torch.ones(2, 9, dtype=torch.bool)
    rows, merged = attention_rows(queries, keys, 0.3), merge_rest(values, keys.mean(1), rest, (9, 9), 3)
    with torch.autocast("cpu", dtype=inside):
        again, merged_again = attention_rows(queries, keys, 0.3), merge_rest(values, keys.mean(1), rest, (9, 9), 3)
    assert again.dtype == torch.float32 and torch.equal(again, rows)
    assert torch.equal(merged_again.values, merged.values)
    assert torch.equal(merged_again.assignment, merged.assignment)
