"""Logits that are no numbers end in one line, not in an empty answer; a NaN picture does not disturb its neighbours."""

import copy
from typing import Any

import pytest
import torch
from conftest import Load, Loaded, sample

from llava.errors import InputError
from llava.model.generation.greedy import Greedy, greedy_tokens
from llava.model.generation.static_decoder import StaticDecoder
from llava.model.generation.static_step import run_step
from llava.reduction import create

pytestmark = pytest.mark.shallow

GREEDY: dict[str, Any] = {"do_sample": False, "max_new_tokens": 4, "pad_token_id": 0}
WAYS: list[dict[str, Any]] = [
    {"do_sample": False},
    {"do_sample": True, "temperature": 0.2, "top_p": 0.9},
    {"do_sample": False, "num_beams": 3},
    {"do_sample": True, "num_return_sequences": 2},
    {"do_sample": False, "eos_token_id": None},
]


@pytest.fixture(scope="module")
def _broken() -> dict[str, Loaded]:
    return {}


@pytest.fixture
def overflowing(load: Load, _broken: dict[str, Loaded]) -> Loaded:
    """The 12-layer checkpoint in float16 with a projector whose outputs it cannot hold: text is answered."""
    if not _broken:
        loaded = load("llava-tiny-12l")
        model = copy.deepcopy(loaded.model)
        model.get_model().mm_projector[2].weight.data *= 1e6
        _broken["float16"] = loaded._replace(model=model.half())
    return _broken["float16"]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_an_overflow_is_refused_however_it_is_decoded(overflowing: Loaded, way: dict[str, Any]) -> None:
    asked, model = sample(overflowing, "What?", "0.png"), overflowing.model
    prefix = model.encode_image(asked.input_ids, asked.images)
    arguments = {"max_new_tokens": 4, "pad_token_id": 0} | way
    line = "a model's logits must be finite: got NaN or infinity in row 0, in float16; float16 overflows above 65504"
    with pytest.raises(InputError, match=line):
        model.generate(**asked._asdict(), **arguments)
    with pytest.raises(InputError, match=line):
        model.ask(prefix, [asked.input_ids[0]], **arguments)


def test_the_rows_are_named(overflowing: Loaded) -> None:
    asked, text, model = sample(overflowing, "What?", "0.png"), sample(overflowing, "Hello?"), overflowing.model
    prefix = model.encode_image(asked.input_ids, asked.images)
    questions = [text.input_ids[0], asked.input_ids[0], text.input_ids[0], asked.input_ids[0]]
    for way in WAYS:
        with pytest.raises(InputError, match="in row 1, 3, in float16"):
            model.ask([None, prefix, None, prefix], questions, **{"max_new_tokens": 4, "pad_token_id": 0} | way)
    assert model.ask([None, None], [text.input_ids[0]] * 2, **GREEDY).shape[0] == 2


def test_an_overflow_in_static_decoding_is_refused(overflowing: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StaticDecoder, "_prepared", lambda self, state: lambda: run_step(self._model, state))
    asked, model = sample(overflowing, "What?", "0.png"), overflowing.model
    prefix = model.encode_image(asked.input_ids, asked.images)
    with pytest.raises(InputError, match="logits must be finite: got NaN or infinity in row 0"):
        model.ask(prefix, [asked.input_ids[0]], decoder=StaticDecoder(model), **GREEDY)


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("name", ["none", "visiondrop", "pyramiddrop"])
def test_a_picture_without_numbers_leaves_the_other_rows_alone(load: Load, name: str, way: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"pyramiddrop": {"layer_list": [3, 6, 9]}, "visiondrop": {}, "none": {}}[name]
    if name == "visiondrop":
        settings = {"dominant": 50, "contextual": 14, "layer_list": [2, 5], "image_token_list": [[33, 7], [20, 5]]}
    loaded = load("llava-tiny-12l", name, **settings)
    asked, model = sample(loaded, "What?", "0.png"), loaded.model
    bad, arguments = torch.full_like(asked.images[0], torch.nan), {"max_new_tokens": 4, "pad_token_id": 0} | way
    ids, copies = asked.input_ids.repeat(2, 1), arguments.get("num_return_sequences", 1)
    sampled = way["do_sample"]
    with pytest.warns(UserWarning, match=r"pictures of rows \[0\] hold NaN or infinity: their answers are empty"):
        got = model.generate(ids, [bad, asked.images[0]], **arguments)
    if not sampled:
        alone = model.generate(asked.input_ids, asked.images, **arguments)
        assert got[1, : alone.shape[1]].tolist() == alone[0].tolist()
    assert len(got) == 2 * copies
    with pytest.raises(InputError, match="in row 0, in float32; look for NaN in the weights and the pictures"):
        model.generate(asked.input_ids, [bad], **arguments)
    assert create(name, **settings) == model.reduction


def test_greedy_decoding_tells_which_rows_were_no_numbers() -> None:
    """Three rows over 4 tokens: fine; NaN at the third token; infinite only after its end."""
    nan, inf = torch.nan, torch.inf
    steps = [
        [[0, 9, 0, 0], [0, 0, 9, 0], [0, 0, 0, 9.0]],
        [[0, 9, 0, 0], [0, 0, 9, 0], [0, inf, 0, 0]],
        [[0, 0, 9, 0], [0, nan, 0, 0], [nan, 0, 0, 0]],
        [[0, 9, 0, 0], [nan, 0, 0, 0], [nan, 0, 0, 0]],
    ]
    rows = iter(torch.tensor(step, dtype=torch.float32) for step in steps)
    tokens, bad, _ = greedy_tokens(next(rows), lambda _: next(rows), Greedy(4, (3,), 0))
    assert bad.tolist() == [False, True, False]
    assert tokens[0].tolist() == [1, 1, 2, 1] and tokens[2].tolist() == [3, 0, 0, 0]
    assert not greedy_tokens(torch.tensor([[-inf, 1.0]]), lambda _: torch.tensor([[1.0, 0]]), Greedy(2, (), 0))[1].any()


def test_greedy_decoding_stops_where_no_row_is_left() -> None:
    calls = []

    def step(tokens: torch.Tensor) -> torch.Tensor:
        calls.append(tokens)
        return torch.full((1, 4), torch.nan)

    assert greedy_tokens(torch.full((1, 4), torch.nan), step, Greedy(100, (3,), 0))[1].tolist() == [True]
    assert not calls
