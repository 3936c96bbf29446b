"""When batches about one picture are planned: where all their rows would read its prefix, and nowhere else."""

from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Load

from llava.eval.runs.one_picture import reads_in_place
from llava.eval.runs.schedules import Schedule
from llava.model.language_model.shared_attention import SHARED_PREFIX
from llava.reduction import create, method_class

GREEDY = {"do_sample": False, "num_beams": 1, "max_new_tokens": 16, "pad_token_id": 0, "use_cache": True}


def planned(model: Any, name: str, compiled: bool = False, **generation: Any) -> bool:
    """Whether such batches are planned for a method at a third of the tokens."""
    method = create("none") if name == "none" else method_class(name).from_budget(192, model.geometry)
    schedules = [Schedule("image", create("none"), model.geometry), Schedule("video", method, model.geometry)]
    return reads_in_place(model, schedules, GREEDY | generation, 60, compiled)


def test_where_rows_read_one_prefix(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("llava-tiny-12l").model
    assert not planned(model, "none")  # sdpa
    monkeypatch.setattr(model.config, "_attn_implementation_internal", SHARED_PREFIX)
    assert planned(model, "none") and planned(model, "visiondrop") and planned(model, "visionzip")
    assert not planned(model, "pyramiddrop") and not planned(model, "cdpruner")  # they read the question
    assert not planned(model, "none", compiled=True)
    assert not planned(model, "none", do_sample=True) and not planned(model, "none", num_beams=2)
    assert planned(model, "none", temperature=0.0, max_new_tokens=1024)
    monkeypatch.setattr(model.get_model(), "layer_masks", SimpleNamespace(), raising=False)
    assert not planned(model, "none")
