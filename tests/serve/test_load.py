"""The benchmark of the server: what it counts, on a short run of it."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from served import Served, served

from llava.errors import InputError
from llava.model.builder import load_pretrained_model
from llava.reduction import resolve
from llava.serve.clients import ask, each_of
from llava.serve.load import build_parser, deepen
from llava.serve.measures.asked import Asked, questions_of, repeated
from llava.serve.measures.broken import barrage, open_files, quiet_files, settle
from llava.serve.measures.deeper import write_deeper
from llava.serve.measures.kinds import BROKEN, CUT, KINDS, REFUSED, RIGHT, kind_of_request
from llava.serve.measures.newcomer import Crowd, Turns
from llava.serve.measures.offline import Offline

SHIPPED = "playground/shapes/llava-shapes"
ARGS = build_parser().parse_args(["--max_new_tokens", "4", "--pictures", "4"])


@pytest.fixture(scope="module")
def offline() -> Offline:
    return Offline(ARGS)


@pytest.fixture(scope="module")
def asked(offline: Offline) -> list[tuple[Asked, str]]:
    """Questions with the runner's answers."""
    questions = questions_of(ARGS, ARGS.pictures)
    return list(zip(questions, offline.answers(questions)[0], strict=True))


@pytest.fixture(scope="module")
def server(offline: Offline) -> Iterator[Served]:
    method = resolve({"method": "visiondrop", "retain": 28}, offline.loaded.model.geometry)
    with served(offline.loaded, most_rows=32, name="m", reduction=method) as running:
        yield running


def test_a_third_of_requests_is_broken_and_nothing_is_lost_or_left(
    server: Served, asked: list[tuple[Asked, str]]
) -> None:
    barrage(server.url, asked, 24, 8, 0)
    settle(server.url)
    before = quiet_files("self", 5)
    outcomes = barrage(server.url, asked, 144, 24, 24)
    assert outcomes == {"right": 96, "refused": 24, "cut": 24}
    assert settle(server.url) == 0 and server.engine.running == server.engine.waiting == 0
    assert quiet_files("self", 5) <= before


def test_what_goes_wrong_is_counted(server: Served, asked: list[tuple[Asked, str]]) -> None:
    one, text = asked[0]
    for kind in RIGHT:
        assert kind(server.url, one, text) == "right" and kind(server.url, one, "no" + text) == "wrong"
        assert kind("http://127.0.0.1:9", one, text) == "lost"
    for kind in BROKEN:
        assert kind("http://127.0.0.1:9", one, text) == "lost"
    refused = {kind.__name__ for kind in REFUSED}
    assert {KINDS[name](server.url, one, text) for name in refused} == {"refused"}


def test_every_third_request_is_broken_and_all_kinds_come() -> None:
    kinds = [kind_of_request(number) for number in range(240)]
    assert {kinds.count(kind.__name__) for kind in BROKEN} == {10} and len(BROKEN) == len(REFUSED) + len(CUT)
    assert {kinds.count(kind.__name__) for kind in RIGHT} == {40}


def test_newcomers_take_turns_with_an_idle_server(server: Served, asked: list[tuple[Asked, str]]) -> None:
    turns = Turns(server.url, running=3, long=400)
    turns.take([asked[0][0], asked[1][0]])
    assert len(turns.idle) == len(turns.busy) == 1 and min(turns.idle + turns.busy + turns.gaps) > 0
    assert settle(server.url) == 0  # the long answers ended with their clients
    crowd = Crowd(server.url, 1, 30)
    crowd.gaps()
    with pytest.raises(InputError, match="one ended; give a larger --long"):
        while True:
            crowd.check()
    crowd.leave()


def test_a_file_with_fewer_pictures_is_said() -> None:
    with pytest.raises(InputError, match="5000 pictures are needed: 'playground"):
        questions_of(ARGS, 5000)
    assert len(repeated([1, 2, 3], 7)) == 7  # type: ignore[list-item]


def test_a_deeper_model_is_one_that_loads(tmp_path: Path) -> None:
    write_deeper(SHIPPED, tmp_path / "deeper", 2, 64)
    _, model, _, _ = load_pretrained_model(str(tmp_path / "deeper"), None, "llava-deeper", device="cpu")
    assert (model.config.num_hidden_layers, model.config.hidden_size, model.dtype) == (2, 64, torch.float32)
    for flags in (["--deeper", "2", "65"], ["--deeper", "2", "64", "--model-path", "x"]):
        with pytest.raises(InputError, match="--deeper"):
            deepen(build_parser().parse_args(flags), tmp_path)


def test_what_fails_in_one_client_is_raised() -> None:
    done: list[int] = []
    each_of(range(20), done.append, 3)
    assert sorted(done) == list(range(20))
    with pytest.raises(InputError, match="must answer at"):
        each_of(range(5), lambda _: ask("http://127.0.0.1:9", b"{}"), 2)
    assert threading.active_count() < 50 and open_files("self") > 0
