"""A reduced model that recognises pictures answers as one that does not, and sees each picture once."""

from typing import Any

import pytest
import torch
from tiny_hf import MODELS, inputs

import llava.hf
from llava.hf.remembering import remembering

QWEN = ["qwen2", "qwen2_5", "qwen3"]
GREEDY = {"max_new_tokens": 4, "do_sample": False}
METHODS = [("visiondrop", {"retain": 0.3}), ("pyramiddrop", {"retain": 0.6}), ("none", {})]
every_qwen = pytest.mark.parametrize("name", QWEN)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pictures that towers of Qwen's models see, call by call."""
    counts: list[int] = []
    for name in QWEN:
        tower = type(MODELS[name]().model.visual)
        run = tower.forward

        def running(self: Any, hidden_states: Any, grid_thw: Any, *args: Any, run: Any = run, **kwargs: Any) -> Any:
            counts.append(len(grid_thw))
            return run(self, hidden_states, grid_thw, *args, **kwargs)

        monkeypatch.setattr(tower, "forward", running)
    return counts


@every_qwen
@pytest.mark.parametrize(("method", "settings"), METHODS, ids=[method for method, _ in METHODS])
def test_generate(name: str, method: str, settings: dict[str, Any], seen: list[int]) -> None:
    """Batches that are padded, several pictures in a prompt and none, beams, another question."""
    model = MODELS[name]()
    reduced = llava.hf.reduce(model, method, **settings)
    knowing = remembering(reduced, 2**30)
    assert isinstance(knowing, type(model)) and knowing.reduction is reduced.reduction
    batches = [inputs(model, [[0], [1]]), inputs(model, [[0, 1], [], [3]]), inputs(model, [[0], [1]], seed=1)]
    behind = {**batches[0], "input_ids": batches[0]["input_ids"].clone()}
    behind["input_ids"][:, -2:] = torch.tensor([[7, 8], [9, 10]])
    for given in (*batches, behind):
        for more in ({}, {"num_beams": 2}):
            wanted = reduced.generate(**given, **GREEDY, **more)
            assert torch.equal(knowing.generate(**given, **GREEDY, **more), wanted)
    seen.clear()
    for given in batches:
        knowing.generate(**given, **GREEDY)
    assert not seen, "all of them are known"
    other = {**batches[0], "pixel_values": batches[0]["pixel_values"] + 1}
    wanted = reduced.generate(**other, **GREEDY)
    seen.clear()
    assert torch.equal(knowing.generate(**other, **GREEDY), wanted) and sum(seen) == 2


@every_qwen
def test_what_cannot_be_kept_is_encoded_again(name: str, seen: list[int]) -> None:
    model = MODELS[name]()
    knowing = remembering(llava.hf.reduce(model, "visionzip", retain=0.4), 0)
    given = inputs(model, [[0], [1]])
    first, second = (knowing.generate(**given, **GREEDY) for _ in range(2))
    assert torch.equal(first, second) and sum(seen) == 4


@every_qwen
def test_other_calls_are_those_of_the_reduced_model(name: str) -> None:
    model = MODELS[name]()
    reduced = llava.hf.reduce(model, "visionzip", retain=0.4)
    knowing = remembering(reduced, 2**30)
    given = inputs(model, [[0], [1]])
    assert torch.equal(knowing(**given).logits, reduced(**given).logits)
    text = {"input_ids": torch.tensor([[5, 6, 7]])}
    assert torch.equal(knowing.generate(**text, **GREEDY), reduced.generate(**text, **GREEDY))
    whole = [one.generate(**given, **GREEDY, return_dict_in_generate=True) for one in (knowing, reduced)]
    assert torch.equal(whole[0].sequences, whole[1].sequences)
    again = [one.generate(**given, **GREEDY, use_cache=False) for one in (knowing, reduced)]
    assert torch.equal(*again)


@every_qwen
@pytest.mark.parametrize(("method", "settings"), [METHODS[0], METHODS[2]], ids=["visiondrop", "none"])
def test_logits_of_the_last_tokens(name: str, method: str, settings: dict[str, Any], seen: list[int]) -> None:
    model = MODELS[name]()
    reduced = llava.hf.reduce(model, method, **settings)
    knowing = remembering(reduced, 2**30)
    given = inputs(model, [[0], [1]])
    with torch.no_grad():
        wanted = reduced(**given, logits_to_keep=3).logits
        knowing.last_logits(3, **given)
        seen.clear()
        torch.testing.assert_close(knowing.last_logits(3, **given), wanted, atol=1e-5, rtol=0)
        assert not seen
        text = {"input_ids": torch.tensor([[5, 6, 7]])}
        assert torch.equal(knowing.last_logits(2, **text), reduced(**text, logits_to_keep=2).logits)
