"""Connections of clients that are slow or speak no HTTP: each is told so in OpenAI's form, and let go.

uvicorn waits for a request's header as long as a client likes, and hangs up on one that still sends while it is being
refused: the refusal is lost then.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from llava.serve.api.errors import Refusal

LINGER = 2.0  # seconds in which what a refused client still sends is thrown away, so that it hears why
NO_HTTP = "a request must be HTTP/1.1 with a header of less than 16 KiB and a body of the length it says: it is not"


def patient_for(seconds: float) -> type[H11Protocol]:
    """What uvicorn is to speak (`Config(http=...)`): a request's header must have arrived within so many seconds."""
    return type("Patient", (_Patient,), {"header_seconds": seconds})


class _Patient(H11Protocol):
    header_seconds = 60.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._refused:
            super().data_received(data)
            self._watch()

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
