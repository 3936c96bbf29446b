"""Requests whose client goes away, that find no memory or cannot be answered: nobody else hears of it."""

from typing import Any

import pytest
import torch
from asker import Asker, heard

from llava.reduction import create
from llava.serve.engine.engine import Engine
from llava.serve.engine.request import End

pytestmark = pytest.mark.shallow


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
