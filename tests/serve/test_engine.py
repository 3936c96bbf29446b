"""Continuous batching: whoever joins and leaves when, every answer is the one asked alone."""

import copy
import queue
import time
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
import torch
from clip_halves import with_clip_half
from conftest import PARITY, Load
from served import wait_until
from test_chat import METHODS

from llava.eval.runs.loading import Loaded
from llava.files.pictures import open_image
from llava.mm_utils import process_images, tokenizer_image_token
from llava.reduction import Reduction, available, create, resolve
from llava.serve.engine.engine import Engine
from llava.serve.engine.request import End, Picture, Piece, Request, Sampling

ALL = METHODS | {"pyramiddrop": {"layer_list": [3, 6, 9]}, "random": {"keep": 32}}
QUESTIONS = ("What is this?", "What color is the circle in the middle?", "Où?", "Is it a dog or is it a cat? Say.")


class Asker:
    """Makes requests of questions and collects what is said."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded

    def request(self, number: int, method: Reduction, picture: int | None = 0, **sampling: Any) -> Request:
        said: queue.SimpleQueue = queue.SimpleQueue()
        text = f"USER: {'' if picture is None else '<image>' + chr(10)}{QUESTIONS[number % 4]} ASSISTANT:"
        ids = tuple(tokenizer_image_token(text, self.loaded.tokenizer))
        settings = Sampling(**({"max_tokens": 3 + number % 5} | sampling))
        request = Request(ids, self.pictures(picture), method, settings, said.put)
        request.said = said  # type: ignore[attr-defined]
        return request

    def pictures(self, number: int | None) -> tuple[Picture, ...]:
        if number is None:
            return ()
        image = open_image(PARITY / f"images/{number}.png")
        pixels = process_images([image], self.loaded.processor, self.loaded.model.config)[0]
        return (Picture(pixels, image.size, number),)

    @torch.inference_mode()
    def alone(self, request: Request) -> list[int]:
        """The tokens of the answer by `generate`."""
        new = self.loaded.model.generate(
            torch.tensor([request.ids]),
            images=[picture.pixels for picture in request.pictures] or None,
            image_sizes=[picture.size for picture in request.pictures] or None,
            reduction=request.reduction,
            do_sample=False,
            max_new_tokens=request.sampling.max_tokens,
        )
        return new[0].tolist()


def heard(request: Request) -> tuple[list[Piece], End]:
    """Everything that was said of a request."""
    pieces = []
    while True:
        event = request.said.get(timeout=60)  # type: ignore[attr-defined]
        if isinstance(event, End):
            return pieces, event
        pieces.append(event)


@pytest.fixture
def asker(load: Load) -> Asker:
    loaded = load("llava-tiny-12l")
    return Asker(Loaded(loaded.tokenizer, loaded.model, loaded.processor))


@pytest.fixture
def engine(asker: Asker) -> Iterator[Engine]:
    with Engine(asker.loaded, prefix_bytes=2**26, most_rows=6) as running:
        yield running


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


def test_whoever_goes_away_frees_the_row(asker: Asker, engine: Engine) -> None:
    method = create("none")
    request = asker.request(0, method, None, max_tokens=100_000)
    engine.submit(request)
    request.said.get(timeout=60)  # type: ignore[attr-defined]
    request.cancelled = True
    assert heard(request)[1].reason == "cancelled"
    gone = asker.request(1, method)
    gone.cancelled = True
    engine.submit(gone)
    assert heard(gone)[1] == End("cancelled")


def test_whoever_goes_away_leaves_the_queue_too(asker: Asker, engine: Engine) -> None:
    method = create("none")
    rows = [asker.request(number, method, None, max_tokens=100_000) for number in range(engine.most_rows)]
    for request in rows:
        engine.submit(request)
        request.said.get(timeout=60)  # type: ignore[attr-defined]
    engine.submit(waiting := asker.request(0, method, None))
    waiting.cancelled = True
    assert heard(waiting)[1] == End("cancelled") and engine.running == engine.most_rows and not engine.waiting
    for request in rows:
        request.cancelled = True


def test_an_answer_without_an_end_goes_on_to_its_limit(asker: Asker, engine: Engine) -> None:
    method = create("none")
    engine.submit(usual := asker.request(0, method, None, max_tokens=4, ends=tuple(range(32000))))
    assert heard(usual)[1].answer_tokens == 1
    some = tuple(range(100))
    engine.submit(endless := asker.request(0, method, None, max_tokens=4, ends=some, endless=True))
    pieces, end = heard(endless)
    assert (end.reason, end.answer_tokens) == ("length", 4)
    assert not {piece.token for piece in pieces} & {*some, *engine.ends}


def test_newcomers_that_find_no_memory_do_not_end_the_others(
    asker: Asker, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = create("none")
    engine.submit(running := asker.request(0, method, max_tokens=60))
    running.said.get(timeout=60)  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setattr("llava.serve.engine.batch.joined", lambda *_: (_ for _ in ()).throw(MemoryError()))
        engine.submit(newcomer := asker.request(1, method))
        assert "not enough memory" in heard(newcomer)[1].error
    pieces, end = heard(running)
    assert end.reason in ("stop", "length")
    assert [piece.token for piece in pieces] == asker.alone(running)[1 : len(pieces) + 1]


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


def test_a_request_that_cannot_be_answered_fails_alone(
    asker: Asker, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = create("none")
    wrong, right = asker.request(0, method), asker.request(1, method)
    wrong.pictures = ()  # an <image> and no picture
    for request in (wrong, right):
        engine.submit(request)
    end = heard(wrong)[1]
    assert end.reason == "error" and end.refused and end.error
    assert [piece.token for piece in heard(right)[0]]
    plain = type(asker.loaded.model).prefill
    monkeypatch.setattr(
        type(asker.loaded.model), "prefill", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("no room"))
    )
    large = asker.request(2, method)
    engine.submit(large)
    assert "not enough memory" in heard(large)[1].error
    monkeypatch.setattr(type(asker.loaded.model), "prefill", plain)
    engine.submit(again := asker.request(3, method))
    assert heard(again)[1].reason in ("stop", "length")


def test_numbers_that_overflow_are_an_error(asker: Asker, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = type(asker.loaded.model).prefill

    def overflown(*arguments: Any) -> Any:
        cache, logits, lengths = forward(*arguments)
        return cache, logits * float("inf"), lengths

    monkeypatch.setattr(type(asker.loaded.model), "prefill", overflown)
    engine.submit(request := asker.request(0, create("none")))
    assert "not finite" in heard(request)[1].error


def test_closing_answers_what_was_asked(asker: Asker) -> None:
    requests = [asker.request(number, create("none")) for number in range(9)]
    with Engine(asker.loaded, prefix_bytes=0, most_rows=4) as running:
        for request in requests:
            running.submit(request)
    assert [heard(request)[1].reason in ("stop", "length") for request in requests] == [True] * 9
    with pytest.raises(ValueError, match="shutting down"):
        running.submit(requests[0])
