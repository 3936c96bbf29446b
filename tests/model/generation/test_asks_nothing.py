"""Captured work asks the device nothing and copies nothing to it: run on `meta`, where no number is to be had."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from captures import reads, tensors
from torch.utils._python_dispatch import TorchDispatchMode

from llava.eval.method_cost import at_budget
from llava.eval.speed.random_model import PRESETS, prompt_ids, random_model
from llava.model.generation.prefix_encoding import captured
from llava.model.generation.static_prompt import run_prompt
from llava.model.generation.static_step import StepState, empty_state, run_step
from llava.reduction import available, name_of
from llava.reduction.sent import Tables

WIDTH = PRESETS["tiny"].width


class Runs(TorchDispatchMode):
    """Work that is run twice: what it has from outside has to be the same memory both times."""

    def __init__(self, strict: bool, outside: dict[int, torch.Tensor]) -> None:
        super().__init__()
        self.strict, self.outside = strict, outside
        self.made: dict[int, torch.Tensor] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        given = tensors((args, kwargs))
        there = {one.untyped_storage()._cdata: one for one in given if one.is_meta}
        if self.strict and there:
            assert not reads(func._schema.name.removeprefix("aten::"), args), f"{func} asks the device"
            assert all(one.is_meta or not one.ndim for one in given), f"{func} takes a tensor of the host's"
            known = self.made.keys() | self.outside.keys()
            assert there.keys() <= known, f"{func} takes what was put together on the host"
        elif not self.strict:
            self.outside |= {at: one for at, one in there.items() if at not in self.made}
        result = func(*args, **kwargs or {})
        for one in tensors(result):
            assert not self.strict or not given or one.is_meta == bool(there), f"{func} copies across"
            self.made[one.untyped_storage()._cdata] = one
        return result


def runs_on_a_device_alone(work: Callable[..., Any], *given: Any) -> Any:
    tables, outside = Tables(), {}
    with torch.no_grad(), tables.kept(), Runs(False, outside):
        work(*given)
    outside |= {table.untyped_storage()._cdata: table for _, table in tables._kept}
    with torch.no_grad(), tables.handed_out(), Runs(True, outside):
        return work(*given)


@pytest.fixture
def plain_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    """`meta` has no autocast."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())


def test_methods_and_steps_whose_work_is_captured_ask_nothing(plain_meta: None) -> None:
    model = random_model(PRESETS["tiny"], "cpu", torch.float32)
    methods, _ = at_budget(available(), 20, model.geometry)
    side, prompt = model.get_vision_tower().image_size, prompt_ids(0, 100, "cpu")
    chosen = {name_of(method): method for method in filter(captured, methods)}
    shown = torch.randn(1, 3, side, side)
    plans = {
        name: model.prepare_inputs(prompt, images=shown, reduction=one)[1]
        for name, one in chosen.items()
        if one.layers or name == "none"
    }
    model, seen = model.to("meta"), shown.to("meta")
    for name, method in chosen.items():
        tokens = runs_on_a_device_alone(model.image_tokens, [seen], None, method)
        assert tokens.lengths == [method.tokens_per_stage(model.geometry)[0]] and tokens.places is None
        if method.layers or name == "none":
            plan = plans[name]
            embeds = torch.zeros(1, plan.layout.width, WIDTH, device="meta")
            cache, layouts = runs_on_a_device_alone(model._run_prefixes, embeds, plan, method, None)
            assert [one.width for one in layouts] == method.tokens_per_stage(model.geometry)
    assert {"none", "visiondrop", "visionzip", "divprune", "random"} <= set(chosen)
    state = empty_state(cache, 1, [128] * len(cache.stages), model.device)
    for kernel in ("sdpa", "eager"):
        model.config._attn_implementation = kernel
        assert runs_on_a_device_alone(run_step, model, state).shape == (1, 100)
        assert runs_on_a_device_alone(ask_eight, model, state).shape == (1, 100)


def ask_eight(model: Any, state: StepState) -> torch.Tensor:
    padding = state.positions[0].new_zeros(1, 1)
    return run_prompt(model, state, torch.zeros(1, 8, WIDTH, device="meta"), padding)


@pytest.mark.parametrize(
    "work",
    [
        lambda there: there.sum().item(),
        lambda there: there[there > 0],
        lambda there: there + torch.ones(3),
        lambda there: there[[0, 1]],
        lambda there: torch.tensor([1, 2]).to(there.device),
        lambda there: there[:2] + torch.tensor([1, 2], device=there.device),
        lambda there: there.nonzero(),
    ],
)
def test_what_a_graph_could_not_do_is_found(work: Callable[[torch.Tensor], Any]) -> None:
    there = torch.empty(3, device="meta")
    with pytest.raises((AssertionError, RuntimeError, NotImplementedError)):
        runs_on_a_device_alone(work, there)
