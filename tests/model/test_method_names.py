"""A method as text at every door of a model, and budgets that are what the model really keeps."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import checkpoints
import pytest
import torch
from tiny_models import noise, tiny_model

from llava.errors import InputError
from llava.model.trace import Trace
from llava.pinpoints import get_anyres_image_grid_shape
from llava.reduction import create, method_class

BUDGET = {"method": "visiondrop", "retain": 32}
LISTS = {"dominant": 42, "contextual": 6, "layer_list": [3, 6, 9], "image_token_list": [[30, 5], [22, 4], [16, 3]]}
DROP = create("visiondrop", **LISTS)


@pytest.mark.parametrize("name", ["visiondrop", BUDGET, {"method": "visiondrop"} | LISTS, DROP], ids=str)
def test_every_door_takes_every_name(name: Any) -> None:
    model, ids = tiny_model(side=10, layers=12), torch.tensor([[1, 5, -200, 6]])
    asked = {"input_ids": ids, "images": noise(model, 1)}

    def kept(call: Callable[..., Any], **arguments: Any) -> list[int]:
        trace = Trace()
        with torch.no_grad():
            call(**asked, **arguments, trace=trace)
        assert trace.layout is not None
        return [trace.layout.spans[0].length, *(stage.after.spans[0].length for stage in trace.stages)]

    answer = functools.partial(model.generate, do_sample=False, max_new_tokens=1)
    assert kept(answer, reduction=name) == kept(model, reduction=name) == [48, 35, 26, 19]
    assert model.encode_image(ids, asked["images"], reduction=name).reduction == DROP
    assert model.reduction == create("none")
    model.reduction = name
    assert model.reduction == DROP
    assert kept(answer) == kept(model) == [48, 35, 26, 19]
    assert kept(answer, reduction="none") == [100]
    model.reduction = None
    assert model.reduction == create("none")


def test_the_loader_takes_a_name() -> None:
    assert checkpoints.load(checkpoints.TINY, reduction="visiondrop").model.reduction == DROP
    assert checkpoints.load(checkpoints.TINY, reduction=BUDGET).model.reduction == DROP
    with pytest.raises(InputError, match="unknown reduction method 'fastest'"):
        checkpoints.load(checkpoints.TINY, reduction="fastest")


def test_a_name_that_is_none_changes_nothing() -> None:
    model = tiny_model(side=10, layers=12)
    model.reduction = create("visionzip", dominant=54, contextual=10)
    for wrong in ("random", "pyramiddrop", {"method": "visiondrop", "retain": 1}):
        with pytest.raises(InputError):
            model.reduction = wrong
        with pytest.raises(InputError):
            model(torch.tensor([[1, 5]]), reduction=wrong)
    assert model.reduction == create("visionzip", dominant=54, contextual=10)


FORMS = {
    "list": [[16, 32], [32, 16], [32, 32], [48, 16], [16, 48]],
    "string": "[(16, 32), (32, 16), (32, 32), (48, 16), (16, 48)]",
    "one grid": [[32, 32]],
    "range": "(1x1),...,(2x2)",
}


@pytest.mark.parametrize(
    ("pinpoints", "merge"), [*((form, "spatial_unpad") for form in FORMS), ("string", "flat"), ("string", "spatial")]
)
def test_a_budget_is_what_the_model_keeps(pinpoints: str, merge: str) -> None:
    """For every method: the largest image has exactly the tokens that the schedule says, a smaller one no more."""
    anyres = {"image_aspect_ratio": "anyres", "image_grid_pinpoints": FORMS[pinpoints], "mm_patch_merge_type": merge}
    model = tiny_model(side=4, layers=8, tokenizer_model_max_length=2048, **anyres)
    geometry = model.geometry
    assert (geometry.views, geometry.most_tokens) == (5, 5 * 16 + 8 * (merge == "spatial_unpad"))
    for method in (
        create("none"),
        create("pyramiddrop", layer_list=[2, 4, 6]),
        method_class("visiondrop").from_budget(32, geometry),
        method_class("visionzip").from_budget(40, geometry),
        method_class("random").from_budget(20, geometry),
    ):
        for size in ((32, 32), (20, 11)):
            columns, rows = get_anyres_image_grid_shape(size, FORMS[pinpoints], 16)
            trace = Trace()
            arguments = {"images": noise(model, 1 + columns * rows), "image_sizes": torch.tensor([size])}
            with torch.no_grad():
                model(torch.tensor([[1, -200, 5]]), **arguments, reduction=method, trace=trace)
            assert trace.layout is not None
            found = [trace.layout.spans[0].length, *(stage.after.spans[0].length for stage in trace.stages)]
            said = method.tokens_per_stage(geometry)
            assert found == said if size == (32, 32) else all(map(operator.le, found, said))
