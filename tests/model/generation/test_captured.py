"""What a GPU captures, run on the CPU by a stand-in for a graph: prefixes, questions and new tokens, all replayed."""

import pytest
import torch
from captures import Replays, capturing
from conftest import Load, sample
from language_models import family_model, pictures
from test_batches import DROP, PYRAMID, ZIP
from test_static_decoder import GREEDY, QUESTIONS, asked
from torch._subclasses.fake_tensor import FakeTensorMode

from llava.eval.method_cost import at_budget
from llava.eval.speed.random_model import PRESETS, prompt_ids, random_model
from llava.model.generation import graphs
from llava.model.generation.graphs import Graphs
from llava.model.generation.prefix_encoding import captured
from llava.reduction import available, name_of, resolve
from llava.reduction.sent import Tables, sent

METHODS = [("none", {}), ("visionzip", ZIP), ("visiondrop", DROP), ("pyramiddrop", PYRAMID)]


@pytest.mark.parametrize("checkpoint", ["llava-tiny-12l"])
@pytest.mark.parametrize(("name", "settings"), METHODS)
def test_answers_are_those_of_growing_caches(
    load: Load, replays: Replays, checkpoint: str, name: str, settings: dict
) -> None:
    loaded = load(checkpoint, name, **settings)
    prefixes, ids = asked(loaded)
    decoder, wanted = capturing(loaded.model), loaded.model.ask(prefixes, ids, **GREEDY)
    for order in ([0, 1, 2, 3, 4], [4, 1, 3, 0, 2], [2, 3], [1], [0], [2]):
        got = loaded.model.ask([prefixes[at] for at in order], [ids[at] for at in order], decoder=decoder, **GREEDY)
        assert torch.equal(got, wanted[order])
    assert decoder.works
    # Shapes of 8, 2 and 1 rows: a step each, and a step of the questions where prefixes hold keys and values.
    prompts = sum(len(held.prompts) for held in decoder._held.values())
    assert (prompts > 2) == (name != "pyramiddrop") and replays.captured == len(decoder._held) + prompts


@pytest.mark.parametrize("family", ["mistral-window", "qwen-window", "qwen"])
@pytest.mark.parametrize("name", ["none", "visiondrop"])
def test_windows_and_padding_are_those_of_growing_caches(replays: Replays, family: str, name: str) -> None:
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
def test_prefixes_are_captured_when_a_shape_comes_back(load: Load, replays: Replays, name: str, settings: dict) -> None:
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


def test_results_of_an_earlier_call_stay(load: Load, replays: Replays) -> None:
    loaded = load("llava-tiny-12l", "visiondrop", **DROP)
    model, decoder = loaded.model, capturing(loaded.model)
    shown = [sample(loaded, QUESTIONS[0], picture) for picture in ("0.png", "1.png")]
    for _ in range(2):
        model.encode_image(shown[0].input_ids, shown[0].images, decoder=decoder)
    first = model.encode_image(shown[0].input_ids, shown[0].images, decoder=decoder)
    states = first.blocks[0].states.clone()
    model.encode_image(shown[1].input_ids, shown[1].images, decoder=decoder)
    assert torch.equal(first.blocks[0].states, states) and replays.replayed > 4


def test_a_method_whose_work_is_captured_asks_the_device_nothing() -> None:
    """Fake tensors have no values: whoever asks for one gets an error."""
    model = random_model(PRESETS["tiny"], "cpu", torch.float32)
    methods, _ = at_budget(available(), 20, model.geometry)
    side, names = model.get_vision_tower().image_size, []
    prompt = prompt_ids(0, 100, "cpu")
    for method in filter(captured, methods):
        embeds, plan = model.prepare_inputs(prompt, images=torch.randn(1, 3, side, side), reduction=method)
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            tokens = model.image_tokens([torch.zeros(1, 3, side, side)], None, method)
            layouts = model._run_prefixes(torch.zeros(embeds.shape), plan, method, None)[1]
        assert [one.width for one in layouts] == method.tokens_per_stage(model.geometry)
        assert tokens.lengths == [method.tokens_per_stage(model.geometry)[0]] and tokens.places is None
        names.append(name_of(method))
    assert {"none", "visiondrop", "visionzip", "divprune", "random"} <= set(names)


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


def test_what_cannot_be_captured_runs_as_before(
    load: Load, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    monkeypatch.setattr(graphs, "as_graph", failing)
    calls = Graphs(torch.device("cpu"))
    number = torch.ones(2)
    assert [calls("key", lambda x: x + 1, [number]).tolist() for _ in range(3)] == [[2.0, 2.0]] * 3
    assert caplog.text.count("operation not permitted when stream") == 1
    monkeypatch.setattr(graphs, "as_graph", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("full")))
    calls = Graphs(torch.device("cpu"))
    calls("key", lambda x: x, [number])
    with pytest.raises(torch.OutOfMemoryError):
        calls("key", lambda x: x, [number])
