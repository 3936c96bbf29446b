"""What a GPU captures, run on the CPU by a stand-in for a graph: prefixes, questions and new tokens, all replayed."""

import pytest
import torch
from captures import Machine, capturing
from conftest import Load, sample
from language_models import family_model, pictures
from test_batches import DROP, PYRAMID, ZIP
from test_static_decoder import GREEDY, QUESTIONS, asked

from llava.reduction import resolve
from llava.reduction.sent import Tables, sent

METHODS = [("none", {}), ("visionzip", ZIP), ("visiondrop", DROP), ("pyramiddrop", PYRAMID)]


@pytest.mark.parametrize("checkpoint", ["llava-tiny-12l"])
@pytest.mark.parametrize(("name", "settings"), METHODS)
def test_answers_are_those_of_growing_caches(
    load: Load, replays: Machine, checkpoint: str, name: str, settings: dict
) -> None:
    loaded = load(checkpoint, name, **settings)
    prefixes, ids = asked(loaded)
    decoder, wanted = capturing(loaded.model), loaded.model.ask(prefixes, ids, **GREEDY)
    for order in ([0, 1, 2, 3, 4], [4, 1, 3, 0, 2], [2, 3], [1]):
        got = loaded.model.ask([prefixes[at] for at in order], [ids[at] for at in order], decoder=decoder, **GREEDY)
        assert torch.equal(got, wanted[order])
    assert decoder.works
    # Shapes of 8, 2 and 1 rows: a step each, and a step of the questions where prefixes hold keys and values.
    prompts = sum(len(held.prompts) for held in decoder._held.values())
    assert (prompts > 2) == (name != "pyramiddrop") and replays.captured == len(decoder._held) + prompts


@pytest.mark.parametrize(
    ("family", "name"), [("mistral-window", "visiondrop"), ("qwen-window", "none"), ("qwen", "visiondrop")]
)
def test_windows_and_padding_are_those_of_growing_caches(replays: Machine, family: str, name: str) -> None:
    """Windows end inside prefixes and questions, and count tokens where padding lies between those."""
    model = family_model(family).double()
    method = resolve({"method": name} | ({"retain": 20} if name != "none" else {}), model.geometry)
    first, second = pictures(model, 2)
    prefixes = [
        model.encode_image(torch.tensor(ids), [one], reduction=method)
        for ids, one in (([1, 5, -200], first), ([1, 5, 6, 7, 8, -200], second))
    ]
    rows = [prefixes[0], prefixes[1], None, prefixes[0]]
    questions = [torch.arange(3, 3 + count) for count in (2, 13, 20, 7)]
    decoder = capturing(model)
    for order in ([0, 1, 2, 3], [1], [2, 0]):
        given = [rows[at] for at in order], [questions[at] for at in order]
        wanted = model.ask(*given, **GREEDY)
        assert torch.equal(model.ask(*given, decoder=decoder, **GREEDY), wanted)
    assert decoder.works and replays.replayed > 20


@pytest.mark.parametrize(("name", "settings"), METHODS)
def test_prefixes_are_captured_when_a_shape_comes_back(load: Load, replays: Machine, name: str, settings: dict) -> None:
    loaded = load("llava-tiny-12l", name, **settings)
    model, decoder = loaded.model, capturing(loaded.model)
    shown = [sample(loaded, QUESTIONS[0], picture) for picture in ("0.png", "1.png", "0.png", "1.png", "0.png")]
    counts = []
    for one in shown:
        wanted = model.encode_image(one.input_ids, one.images)
        got = model.encode_image(one.input_ids, one.images, decoder=decoder)
        counts.append((replays.captured, replays.replayed))
        assert wanted.lengths == got.lengths and wanted.image_lengths == got.image_lengths
        for block, other in zip(wanted.blocks, got.blocks, strict=True):
            torch.testing.assert_close(other.states, block.states, atol=1e-6, rtol=0)
        if wanted.features is not None:
            torch.testing.assert_close(got.features, wanted.features, atol=1e-6, rtol=0)
    each = 2 if name != "pyramiddrop" else 0  # it reads the question: its prefixes are not run
    assert counts == [(0, 0), (each, each), (each, 2 * each), (each, 3 * each), (each, 4 * each)]


def test_results_of_an_earlier_call_stay(load: Load, replays: Machine) -> None:
    loaded = load("llava-tiny-12l", "visiondrop", **DROP)
    model, decoder = loaded.model, capturing(loaded.model)
    shown = [sample(loaded, QUESTIONS[0], picture) for picture in ("0.png", "1.png")]
    for _ in range(2):
        model.encode_image(shown[0].input_ids, shown[0].images, decoder=decoder)
    first = model.encode_image(shown[0].input_ids, shown[0].images, decoder=decoder)
    states = first.blocks[0].states.clone()
    model.encode_image(shown[1].input_ids, shown[1].images, decoder=decoder)
    assert torch.equal(first.blocks[0].states, states) and replays.replayed > 4


def test_other_work_than_was_captured_is_refused() -> None:
    tables = Tables()
    with tables.kept():
        assert sent([1, 2], "cpu").tolist() == [1, 2]
    for other in ([1, 3], [1, 2, 3], [1.0, 2.0]):
        with tables.handed_out(), pytest.raises(RuntimeError, match="other tables"):
            sent(other, "cpu")
    with tables.handed_out():
        first = sent([1, 2], "cpu")
        with pytest.raises(RuntimeError, match="other tables"):
            sent([1, 2], "cpu")
    assert sent([1, 2], "cpu") is not first
