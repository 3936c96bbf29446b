"""What the engine says, on its way from its thread to the loop of the server.

A step of the model says a token of every row at once. The loop is woken once for all of them, not once for each.
"""

import asyncio
import contextlib
from collections import deque

from llava.serve.engine.request import End, Piece

Event = tuple[int, Piece | End]  # of which choice


class Inbox:
    """Events of one chat request. `put` and `next` are called in the loop."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._waiter: asyncio.Future[None] | None = None

    def put(self, event: Event) -> None:
        """One more."""
        self._events.append(event)
        _wake(self._waiter)

    async def next(self, seconds: float) -> list[Event]:
        """All that came since the last time; none where nothing came for so long."""
        if not self._events:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(seconds, _wake, self._waiter)  # `wait_for` would make a task of it each time
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        events, self._events = self._events, []
        return events


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


class Postman:
    """Brings events from other threads into inboxes of one loop, in the order in which they were posted."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._posted: deque[tuple[Inbox, Event]] = deque()
        self._called = False

    def post(self, inbox: Inbox, event: Event) -> None:
        """From any thread. An event after the loop's end is lost: nobody is there to read it."""
        self._posted.append((inbox, event))
        if not self._called:
            self._called = True
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._called = False  # before the first is taken: what is posted from now on calls again
        while self._posted:
            inbox, event = self._posted.popleft()
            inbox.put(event)
