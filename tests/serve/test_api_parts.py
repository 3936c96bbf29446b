"""Parts of the interface without a server: how events reach the loop, and pictures that were seen a moment ago."""

import asyncio
import threading
from typing import Any

import pytest
import torch

from llava.serve.api import pictures
from llava.serve.api.inbox import Inbox, Postman
from llava.serve.api.pictures import Opener
from llava.serve.api.seen import SeenPictures, key_of
from llava.serve.engine.request import Picture, Piece


def test_events_come_in_order_and_wake_the_loop_once() -> None:
    async def listen() -> tuple[list[Any], int]:
        loop, woken = asyncio.get_running_loop(), []
        postman, inboxes = Postman(loop), [Inbox(), Inbox()]
        call = loop.call_soon_threadsafe
        loop.call_soon_threadsafe = lambda *what: woken.append(1) or call(*what)  # type: ignore[assignment,func-returns-value,return-value]

        def engine() -> None:
            for number in range(100):
                postman.post(inboxes[number % 2], (0, Piece(str(number), number)))

        thread = threading.Thread(target=engine)
        thread.start()
        thread.join()  # the loop stands meanwhile
        heard = [await inbox.next(5) for inbox in inboxes]
        assert await inboxes[0].next(0.01) == []
        return [[piece.token for _, piece in own if isinstance(piece, Piece)] for own in heard], len(woken)

    heard, woken = asyncio.run(listen())
    assert heard == [list(range(0, 100, 2)), list(range(1, 100, 2))] and woken == 1


def test_an_event_after_the_loops_end_is_nobodys() -> None:
    loop = asyncio.new_event_loop()
    postman = Postman(loop)
    loop.close()
    postman.post(Inbox(), (0, Piece("", 0)))


def shown(key: int) -> Picture:
    return Picture(torch.zeros(3, 4, 4), (4, 4), key)


def test_the_picture_unused_longest_goes_first() -> None:
    seen = SeenPictures(limit=3 * 3 * 16 * 4)
    for key in range(3):
        seen.put(key, shown(key))
    assert seen.get(0) is not None
    seen.put(3, shown(3))
    assert [seen.get(key) is not None for key in range(4)] == [True, False, True, True]
    seen.put(9, Picture(torch.zeros(3, 40, 40), (4, 4), 9))
    assert seen.get(9) is None and seen.get(None) is None


def test_only_what_cannot_change_is_remembered() -> None:
    assert key_of("https://a/b.png", False) is None
    assert key_of("data:a", False) == key_of("data:a", False) != key_of("data:a", True) != key_of("data:b", True)


def test_a_slow_fetch_holds_up_no_picture_that_came_along(monkeypatch: pytest.MonkeyPatch) -> None:
    opened, go_on = [], threading.Event()

    def open_one(url: str, *_: Any) -> Picture:
        opened.append(url)
        if url.startswith("https:"):
            go_on.wait(30)
        return shown(hash(url))

    monkeypatch.setattr(pictures, "picture_of", open_one)

    async def ask() -> None:
        opener = Opener(None, lambda _: b"")
        slow = [asyncio.create_task(opener.all([f"https://a/{number}"])) for number in range(20)]
        await asyncio.sleep(0.05)
        first = await asyncio.wait_for(opener.all(["data:x"]), 10)
        assert await opener.all(["data:x"]) == first and opened.count("data:x") == 1
        go_on.set()
        assert len({picture.key for [picture] in await asyncio.gather(*slow)}) == 20

    asyncio.run(ask())
