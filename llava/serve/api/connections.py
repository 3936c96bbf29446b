"""Connections of clients that are slow or speak no HTTP: each is told so in OpenAI's form, and let go.

uvicorn waits for a request's header, and for a client to take its answer, as long as the client likes; and it hangs up
on one that still sends while it is being refused: the refusal is lost then.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from llava.serve.api.errors import Refusal

LINGER = 2.0  # seconds in which what a refused client still sends is thrown away, so that it hears why
NO_HTTP = "a request must be HTTP/1.1 with a header of less than 16 KiB and a body of the length it says: it is not"


def patient_for(header_seconds: float, unread_seconds: float = 60.0) -> type[H11Protocol]:
    """What uvicorn is to speak (`Config(http=...)`).

    Args:
        header_seconds: within these a request's header must have arrived.
        unread_seconds: a client that takes nothing of what waits for it for so long is let go, and its rows are freed.
    """
    return type("Patient", (_Patient,), {"header_seconds": header_seconds, "unread_seconds": unread_seconds})


class _Patient(H11Protocol):
    header_seconds = 60.0
    unread_seconds = 60.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._refused = False
        self._unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        transport.set_write_buffer_limits(0)  # `pause_writing` then tells of anything that a client does not take
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        self._forget_unread()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._refused:
            super().data_received(data)
            self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._forget_unread()

    def _wait_for_reader(self) -> None:
        """Keep the time while a client takes nothing."""
        self._forget_unread()
        unread = self.transport.get_write_buffer_size()
        self._unread_timer = self.loop.call_later(self.unread_seconds, self._still_unread, unread)

    def _still_unread(self, before: int) -> None:
        if self.transport.get_write_buffer_size() < before:
            self._wait_for_reader()
        else:
            self.transport.abort()  # `close` would wait for the client to take the rest

    def _forget_unread(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _watch(self) -> None:
        """Keep the time while a header is being waited for."""
        if self._refused or self.conn.their_state is not h11.IDLE:
            self._forget()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.header_seconds, self._too_slow)

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        self._refuse(Refusal(408, f"a request's header must arrive within {self.header_seconds:g} seconds"))

    def send_400_response(self, msg: str) -> None:
        """uvicorn calls it for what h11 cannot read."""
        self._refuse(Refusal(400, NO_HTTP))

    def _refuse(self, refusal: Refusal) -> None:
        if self.transport.is_closing():
            return
        self._refused = True
        self._forget()
        self._unset_keepalive_if_required()
        response = refusal.response()
        headers = [*response.raw_headers, (b"connection", b"close")]
        events = (
            h11.Response(status_code=refusal.status, headers=headers),
            h11.Data(data=bytes(response.body)),
            h11.EndOfMessage(),
        )
        try:
            for event in events:
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:  # amid an answer: nothing can be said any more
            self.transport.close()
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer = self.loop.call_later(LINGER, self.transport.close)
