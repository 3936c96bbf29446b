"""The fixed-shape decoding step: the same tokens as without, compiled or not, and without where it cannot be."""

import logging
import shutil
from typing import Any

import pytest
import torch
from conftest import Load, Loaded, sample
from test_batches import DROP, PYRAMID, ZIP

from llava.model.generation.prefix import ImagePrefix
from llava.model.generation.static_decoder import StaticDecoder
from llava.reduction import create

pytestmark = pytest.mark.shallow

METHODS = [("none", {}), ("visionzip", ZIP), ("visiondrop", DROP), ("pyramiddrop", PYRAMID)]
GREEDY: dict[str, Any] = {"do_sample": False, "eos_token_id": None, "max_new_tokens": 7}
QUESTIONS = ["What color is the circle?", "Is it a dog?\nAnswer the question using a single word or phrase.", "Où?"]


def asked(loaded: Loaded) -> tuple[list[ImagePrefix | None], list[torch.Tensor]]:
    """Five questions of other lengths: three about a picture, one about another, one without."""
    shown = [sample(loaded, question, "0.png") for question in QUESTIONS] + [sample(loaded, QUESTIONS[0], "1.png")]
    first, second = (loaded.model.encode_image(shown[at].input_ids, shown[at].images) for at in (0, 3))
    text = sample(loaded, QUESTIONS[1]).input_ids
    return [first, first, first, second, None], [*(row.input_ids for row in shown), text]


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The layer as it is, so that the fixed-shape step alone is tested, in a moment."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)


@pytest.mark.parametrize(("name", "settings"), METHODS)
def test_tokens_are_those_of_growing_caches(load: Load, uncompiled: None, name: str, settings: dict) -> None:
    loaded = load("llava-tiny-12l", name, **settings)
    prefixes, ids = asked(loaded)
    decoder = StaticDecoder(loaded.model)
    wanted = loaded.model.ask(prefixes, ids, **GREEDY)
    for order in ([0, 1, 2, 3, 4], [4, 1, 3, 0, 2], [2, 3], [1]):  # buffers of 8 rows are used twice, then 2 and 1
        got = loaded.model.ask([prefixes[at] for at in order], [ids[at] for at in order], decoder=decoder, **GREEDY)
        assert torch.equal(got, wanted[order])
    assert decoder.works
    ends = {"do_sample": False, "max_new_tokens": 7, "eos_token_id": wanted[:, 2].tolist(), "pad_token_id": 0}
    assert torch.equal(
        loaded.model.ask(prefixes, ids, decoder=decoder, **ends), loaded.model.ask(prefixes, ids, **ends)
    )


@torch.no_grad()
def test_logits_of_the_step_are_those_of_the_model(load: Load, uncompiled: None) -> None:
    loaded = load("llava-tiny-12l", "visiondrop", **DROP)
    model, decoder = loaded.model, StaticDecoder(loaded.model)
    prefixes, ids = asked(loaded)
    suffixes = [tuple(row[0].tolist()[len(p.ids) if p else 0 :]) for p, row in zip(prefixes, ids)]
    given, cache, method = model._start(prefixes, suffixes, 4)
    layout = given.layout.to_tensor()
    model(inputs_embeds=given.embeds, layout=layout, past_key_values=cache, reduction=method, use_cache=True)
    step = decoder.start(cache, 5, 4)
    for number in range(4):
        tokens = torch.arange(5) + 10 * number
        wanted = model(input_ids=tokens[:, None], past_key_values=cache, use_cache=True).logits[:, -1]
        torch.testing.assert_close(step(tokens), wanted, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_compiled_tokens_are_the_same(load: Load) -> None:
    loaded = load("llava-tiny-12l", "visiondrop", **DROP)
    prefixes, ids = asked(loaded)
    decoder = StaticDecoder(loaded.model)
    got = loaded.model.ask(prefixes, ids, decoder=decoder, **GREEDY)
    assert decoder.works or shutil.which("g++") is None
    assert torch.equal(got, loaded.model.ask(prefixes, ids, **GREEDY))


@pytest.mark.parametrize("cause", ["no compiler", "compiler fails", "attention", "sampling"])
def test_without_a_compiler_it_goes_on_and_says_so_once(
    load: Load, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, cause: str
) -> None:
    loaded = load("llava-tiny-12l", "visiondrop", **DROP)
    prefixes, ids = asked(loaded)

    def failing(*_: object, **__: object) -> None:
        raise RuntimeError("the C++ compiler\nfound no header")

    arguments = dict(GREEDY)
    if cause == "no compiler":
        monkeypatch.setattr(shutil, "which", lambda _: None)
    elif cause == "compiler fails":
        monkeypatch.setattr(torch, "compile", lambda *_, **__: failing)
    elif cause == "attention":
        monkeypatch.setattr(loaded.model.config, "_attn_implementation", "flash_attention_2")
    else:
        arguments |= {"num_beams": 2}
    with caplog.at_level(logging.WARNING):
        decoder = StaticDecoder(loaded.model)
        monkeypatch.undo()
        if cause == "compiler fails":
            monkeypatch.setattr(torch, "compile", lambda *_, **__: failing)
        got = [loaded.model.ask(prefixes, ids, decoder=decoder, **arguments) for _ in range(2)]
    wanted = loaded.model.ask(prefixes, ids, **arguments)
    assert torch.equal(got[0], wanted) and torch.equal(got[1], wanted) and not decoder.works
    said = [record.getMessage() for record in caplog.records if "--compile has no effect" in record.getMessage()]
    assert len(said) == 1 and "\n" not in said[0]


def test_only_so_many_buffers_are_kept(load: Load, uncompiled: None) -> None:
    loaded = load("llava-tiny-12l", "visionzip", **ZIP)
    prefixes, ids = asked(loaded)
    decoder = StaticDecoder(loaded.model)
    for new in (2, 70, 140, 210, 280, 350):
        loaded.model.ask(prefixes[0], ids[:1], decoder=decoder, **GREEDY | {"max_new_tokens": new})
    assert len(decoder._held) == 4 and loaded.model.reduction == create("visionzip", **ZIP)
