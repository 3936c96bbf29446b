"""Continuous batching: whoever joins and leaves when, every answer is the one asked alone."""

import copy
import time
from random import Random

import pytest
import torch
from asker import Asker, heard
from clip_halves import with_clip_half
from served import wait_until
from test_chat import METHODS

from llava.eval.runs.loading import Loaded
from llava.reduction import available, create, resolve
from llava.serve.engine.engine import Engine

pytestmark = pytest.mark.shallow

ALL = METHODS | {"pyramiddrop": {"layer_list": [3, 6, 9]}, "random": {"keep": 32}}


@pytest.mark.parametrize("name", ALL)
def test_requests_that_come_and_go_are_answered_as_alone(asker: Asker, engine: Engine, name: str) -> None:
    method, random, requests = create(name, **ALL[name]), Random(0), []
    for number in range(9):
        requests.append(asker.request(number, method, random.choice((0, 1, 2, None))))
        engine.submit(requests[-1])
        time.sleep(random.choice((0, 0, 0.02, 0.05)))
    for request in requests:
        pieces, end = heard(request)
        wanted = asker.alone(request)
        tokens = [piece.token for piece in pieces]
        assert tokens == wanted[: len(tokens)] and len(wanted) - len(tokens) <= 1  # the end token is not said
        text = asker.loaded.tokenizer.decode(wanted, skip_special_tokens=True).strip()
        assert "".join(piece.text for piece in pieces) == text
        assert end.reason in ("stop", "length") and end.answer_tokens == len(wanted)
        assert (end.image_tokens > 0) == bool(request.pictures)
    wait_until(lambda: engine.running == engine.waiting == 0)  # a row goes after its last word


@pytest.mark.parametrize("name", ALL)
def test_newcomers_of_other_lengths_are_prefilled_together(asker: Asker, engine: Engine, name: str) -> None:
    """Padding lies between prefix and question then; the rows that go on must be theirs."""
    method = create(name, **ALL[name])
    requests = [asker.request(number, method, picture) for number, picture in enumerate((0, 1, None, 0, 2))]
    with engine._changed:  # nobody is taken before all are there
        for request in requests:
            engine._waiting.append(request)
        engine._changed.notify()
    for request in requests:
        tokens = [piece.token for piece in heard(request)[0]]
        assert tokens == asker.alone(request)[: len(tokens)]


def test_newcomers_are_begun_some_at_a_time(asker: Asker, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order; one with a longer question than that is begun by itself."""
    monkeypatch.setattr("llava.serve.engine.engine.TOGETHER", 18)
    groups: list[list[int]] = []
    plain = engine._prefill
    monkeypatch.setattr(engine, "_prefill", lambda own: groups.append([len(one.ids) for one in own]) or plain(own))
    method = create("none")
    requests = [asker.request(number, method, None) for number in (2, 2, 3, 1, 2)]
    with engine._changed:  # nobody is taken before all are there
        engine._waiting.extend(requests)
        engine._changed.notify()
    for request in requests:
        tokens = [piece.token for piece in heard(request)[0]]
        assert tokens == asker.alone(request)[: len(tokens)]
    lengths = [len(request.ids) for request in requests]
    assert sum(groups, []) == lengths and max(lengths) > 18
    assert [len(group) for group in groups] == [2, 1, 1, 1]


def test_every_method_is_answered_beside_the_others(asker: Asker) -> None:
    """Also those that read the question, before the LLM and in it."""
    model = with_clip_half(copy.deepcopy(asker.loaded.model))
    asker, geometry = Asker(Loaded(asker.loaded.tokenizer, model, asker.loaded.processor)), model.geometry
    methods = [resolve("none" if name == "none" else {"method": name, "retain": 64}, geometry) for name in available()]
    assert len(methods) >= 25
    asked = [asker.request(at, method, at % 2, max_tokens=2) for at, method in enumerate(methods)]
    again = [asker.request(at, method, at % 2, max_tokens=2) for at, method in enumerate(methods)]
    with Engine(asker.loaded, prefix_bytes=2**26) as engine:
        for request in (*asked, *again):
            engine.submit(request)
    for request, other in zip(asked, again):
        tokens, same = ([piece.token for piece in heard(one)[0]] for one in (request, other))
        assert tokens == same == asker.alone(request)[: len(tokens)] and tokens, request.reduction


def test_a_picture_is_encoded_once(asker: Asker, engine: Engine) -> None:
    method = create("visiondrop", **ALL["visiondrop"])
    for number in range(5):
        request = asker.request(number, method, picture=1)
        engine.submit(request)
        end = heard(request)[1]
        assert (end.cached_tokens > 0) == (number > 0) and end.prompt_tokens > end.image_tokens == 48
    assert (engine.encoded, engine.reused) == (1, 4) and engine.prefix_bytes > 0


def test_an_answer_without_an_end_goes_on_to_its_limit(asker: Asker, engine: Engine) -> None:
    method = create("none")
    engine.submit(usual := asker.request(0, method, None, max_tokens=4, ends=tuple(range(32000))))
    assert heard(usual)[1].answer_tokens == 1
    some = tuple(range(100))
    engine.submit(endless := asker.request(0, method, None, max_tokens=4, ends=some, endless=True))
    pieces, end = heard(endless)
    assert (end.reason, end.answer_tokens) == ("length", 4)
    assert not {piece.token for piece in pieces} & {*some, *engine.ends}


def test_draws_depend_on_the_seed_alone(asker: Asker, engine: Engine) -> None:
    method, hot = create("none"), {"temperature": 1.0, "top_p": 0.9, "max_tokens": 8}
    alone = asker.request(0, method, seed=5, **hot)
    engine.submit(alone)
    first = [piece.token for piece in heard(alone)[0]]
    crowd = [asker.request(number, method, picture=number % 3, seed=number, **hot) for number in range(6)]
    again = asker.request(0, method, seed=5, **hot)
    for request in [*crowd, again]:
        engine.submit(request)
    others = [[piece.token for piece in heard(request)[0]] for request in crowd]
    assert [piece.token for piece in heard(again)[0]] == first
    assert len({tuple(tokens) for tokens in others}) > 1


def test_log_probabilities_are_the_models(asker: Asker, engine: Engine) -> None:
    request = asker.request(0, create("none"), logprobs=3)
    engine.submit(request)
    pieces, _ = heard(request)
    with torch.inference_mode():
        [picture] = request.pictures
        logits = asker.loaded.model(torch.tensor([request.ids]), images=[picture.pixels], image_sizes=[picture.size])
    best = logits.logits[0, -1].log_softmax(-1).topk(3)
    assert [token for token, _ in pieces[0].likeliest] == best.indices.tolist()
    assert pieces[0].logprob == pytest.approx(best.values[0].item(), abs=1e-4)
