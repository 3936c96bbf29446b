"""Caches that go on: made in inference mode, by samples, by a draft; those that cannot are refused in words."""

from typing import Any

import pytest
import torch
from conftest import Load, Loaded, sample

from llava.errors import InputError
from llava.model.generation.static_decoder import StaticDecoder
from llava.model.generation.static_step import run_step
from llava.reduction import create

pytestmark = pytest.mark.shallow

METHODS = {
    "none": create("none"),
    "visiondrop": create(
        "visiondrop", dominant=50, contextual=14, layer_list=[2, 5, 9], image_token_list=[[33, 7], [20, 5], [9, 1]]
    ),
}
GREEDY: dict[str, Any] = {"do_sample": False, "eos_token_id": None, "max_new_tokens": 5}
MORE = torch.tensor([[5, 6, 7]])


@pytest.fixture(params=METHODS)
def loaded(load: Load, request: pytest.FixtureRequest) -> Loaded:
    """The 12-layer checkpoint under each method."""
    found = load("llava-tiny-12l")
    found.model.reduction = METHODS[request.param]
    return found


def goes_on(loaded: Loaded, first: Any, **settings: Any) -> None:
    """A second turn from a cache equals the whole conversation."""
    asked = sample(loaded, "What?", "0.png")
    rows = len(first.sequences)
    turn = torch.cat([asked.input_ids.repeat(rows, 1), first.sequences, MORE.repeat(rows, 1)], dim=1)
    images = asked.images * rows
    wanted = loaded.model.generate(turn, images=images, **GREEDY)
    got = loaded.model.generate(turn, images=images, past_key_values=first.past_key_values, **GREEDY, **settings)
    assert torch.equal(got, wanted)


@pytest.mark.parametrize("how", ["ask", "generate", "forward"])
def test_a_cache_of_inference_mode_goes_on_outside_it(loaded: Loaded, how: str) -> None:
    asked, model = sample(loaded, "What?", "0.png"), loaded.model
    arguments = {**GREEDY, "return_dict_in_generate": True}
    with torch.inference_mode():
        if how == "ask":
            prefix = model.encode_image(asked.input_ids, images=asked.images)
            first = model.ask(prefix, [asked.input_ids[0]], **arguments)
        else:
            first = model.generate(asked.input_ids, images=asked.images, **arguments)
    if how != "forward":
        goes_on(loaded, first)
    else:  # with a gradient, which a tensor of inference mode may not take part in
        out = model(MORE, past_key_values=first.past_key_values, labels=MORE)
        out.loss.backward()
        assert out.loss.isfinite()
        model.zero_grad()


def test_a_prefix_of_inference_mode_is_asked_outside_it(loaded: Loaded) -> None:
    asked, model = sample(loaded, "What?", "0.png"), loaded.model
    with torch.inference_mode():
        prefix = model.encode_image(asked.input_ids, images=asked.images)
    wanted = model.generate(asked.input_ids, images=asked.images, **GREEDY)
    assert torch.equal(model.ask(prefix, [asked.input_ids[0]], **GREEDY), wanted)


def test_a_static_step_of_inference_mode_is_not_written_outside_it(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its buffers are kept for the next batch of that shape; here the step over them is not compiled."""
    monkeypatch.setattr(StaticDecoder, "_prepared", lambda self, state: lambda: run_step(self._model, state))
    loaded = load("llava-tiny-12l", "none")
    asked, model = sample(loaded, "What?", "0.png"), loaded.model
    prefix, decoder = model.encode_image(asked.input_ids, images=asked.images), StaticDecoder(loaded.model)
    with torch.inference_mode():
        inside = model.ask(prefix, [asked.input_ids[0]], decoder=decoder, **GREEDY)
    with torch.no_grad():
        assert torch.equal(model.ask(prefix, [asked.input_ids[0]], decoder=decoder, **GREEDY), inside)
    with torch.inference_mode():
        assert torch.equal(model.ask(prefix, [asked.input_ids[0]], decoder=decoder, **GREEDY), inside)
    assert decoder.works and len(decoder._held) == 2


def test_each_of_several_samples_goes_on(loaded: Loaded) -> None:
    asked = sample(loaded, "What?", "0.png")
    torch.manual_seed(0)
    settings = {"do_sample": True, "temperature": 2.0, "num_return_sequences": 3, "eos_token_id": None}
    first = loaded.model.generate(**asked._asdict(), max_new_tokens=4, return_dict_in_generate=True, **settings)
    assert len({tuple(row) for row in first.sequences.tolist()}) > 1
    goes_on(loaded, first)


def test_a_cache_of_drafts_goes_on(loaded: Loaded) -> None:
    asked = sample(loaded, "What?", "0.png")
    arguments = {**GREEDY, "return_dict_in_generate": True, "prompt_lookup_num_tokens": 3, "eos_token_id": 699}
    goes_on(loaded, loaded.model.generate(**asked._asdict(), **arguments))


def test_a_cache_of_beams_is_refused(loaded: Loaded) -> None:
    asked = sample(loaded, "What?", "0.png")
    arguments = {**GREEDY, "return_dict_in_generate": True, "num_beams": 3, "num_return_sequences": 3}
    first = loaded.model.generate(**asked._asdict(), **arguments)
    turn = torch.cat([asked.input_ids.repeat(3, 1), first.sequences, MORE.repeat(3, 1)], dim=1)
    with pytest.raises(InputError, match="got one of a beam search"):
        loaded.model.generate(turn, images=asked.images * 3, past_key_values=first.past_key_values, **GREEDY)
    with pytest.raises(InputError, match="got one of a beam search"):
        loaded.model(MORE.repeat(3, 1), past_key_values=first.past_key_values)


def test_a_cache_of_other_rows_is_refused(loaded: Loaded) -> None:
    asked = sample(loaded, "What?", "0.png")
    first = loaded.model.generate(**asked._asdict(), return_dict_in_generate=True, **GREEDY)
    turn = torch.cat([asked.input_ids, first.sequences, MORE], dim=1).repeat(2, 1)
    with pytest.raises(InputError, match="got one of 1 rows for 2"):
        loaded.model.generate(turn, images=asked.images * 2, past_key_values=first.past_key_values, **GREEDY)
    with pytest.raises(InputError, match="got one of 1 rows for 2"):
        loaded.model(MORE.repeat(2, 1), past_key_values=first.past_key_values)
