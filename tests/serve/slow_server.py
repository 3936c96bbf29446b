"""What stands in for the server where a test must see an answer half done: it says a word whenever it is let."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORDS = ["one", " two", " three", *[f" {number}" for number in range(4, 400)]]


class SlowServer:
    """A context manager.

    Attributes:
        go_on: released once for each word.
        gone: set once a client has left before the end.
        fails_after: words before an error; None: none.
        model: what it says of its model.
        paths: what was asked for with GET.
    """

    def __init__(self) -> None:
        self.go_on, self.gone = threading.Semaphore(0), threading.Event()
        self.fails_after: int | None = None
        self.model: Any = {"id": "slow", "reduction": {"methods": ["none", "visiondrop"], "most_tokens": 576}}
        self.paths: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "SlowServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.release(len(WORDS))
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                served.paths.append(self.path)
                self._begin()
                self.wfile.write(json.dumps({"data": [served.model]}).encode())

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self._begin()
                for number, word in enumerate(WORDS):
                    served.go_on.acquire()
                    event: dict[str, Any] = {"choices": [{"delta": {"content": word}}]}
                    if number == served.fails_after:
                        event = {"error": {"message": "there is not enough memory"}}
                    try:
                        self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                    except OSError:
                        served.gone.set()
                        return

            def _begin(self) -> None:
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler
