"""Pictures from addresses, by a server on this machine: what is fetched, and what is refused in one line."""

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from conftest import PARITY

from llava.errors import InputError
from llava.eval.run_llava import load_image, load_images
from llava.files import fetching
from llava.files.fetching import fetch_picture, is_address
from llava.files.pictures import open_image

PICTURE = PARITY / "images" / "0.png"
Handler = http.server.BaseHTTPRequestHandler


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is part of these tests."""


class _Handler(Handler):
    """Answers each path as a function of that name below."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The method's name is the library's."""
        name = self.path.partition("?")[0].strip("/").partition("/")[0]
        ANSWERS.get(name, partial(_status, code=404))(self)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


def _send(handler: Handler, content: bytes, length: int | None = None, code: int = 200, **headers: str) -> None:
    handler.send_response(code)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(content) if length is None else length))
    handler.end_headers()
    handler.wfile.write(content)


def _status(handler: Handler, code: int) -> None:
    _send(handler, b"no", code=code)


def _picture(handler: Handler, kind: str | None = "image/png") -> None:
    _send(handler, PICTURE.read_bytes(), **({"Content_Type": kind} if kind else {}))


def _to(handler: Handler, where: str) -> None:
    _send(handler, b"", code=302, Location=where)


def _again(handler: Handler) -> None:
    """/count/N leads to /count/N-1, and /count/0 is the picture."""
    left = int(handler.path.rsplit("/", 1)[1])
    _to(handler, f"/count/{left - 1}") if left else _picture(handler)


def _chunked(handler: Handler, count: int = 3, pause: float = 0) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for _ in range(count):
        handler.wfile.write(b"400\r\n" + bytes(1024) + b"\r\n")
        time.sleep(pause)
    handler.wfile.write(b"0\r\n\r\n")


def _trickle(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for _ in range(40):
        handler.wfile.write(b"a")
        time.sleep(0.1)


def _short(handler: Handler) -> None:
    _send(handler, b"few", length=1000, Content_Type="image/png")
    handler.close_connection = True


def _nonsense(handler: Handler) -> None:
    handler.wfile.write(b"\x00\x01 nonsense\r\n\r\n")


ANSWERS: dict[str, Callable[[Handler], None]] = {
    "0.png": _picture,
    "%C3%A9.png": _picture,
    "plain": partial(_picture, kind="application/octet-stream"),
    "unnamed": partial(_picture, kind=None),
    "page": partial(_picture, kind="text/html; charset=utf-8"),
    "svg": lambda handler: _send(handler, b"<svg/>", Content_Type="image/svg+xml"),
    "eps": lambda handler: _send(handler, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", Content_Type="image/x"),
    "gzip": lambda handler: _send(handler, b"1234", Content_Type="image/png", Content_Encoding="gzip"),
    "count": _again,
    "loop": partial(_to, where="/loop"),
    "file": partial(_to, where="file:///etc/hostname"),
    "ftp": partial(_to, where="ftp://127.0.0.1/0.png"),
    "large": lambda handler: _send(handler, b"", length=2**40, Content_Type="image/png"),
    "odd": lambda handler: _send(handler, b"", length=-5, Content_Type="image/png"),
    "chunked": _chunked,
    "slow": partial(_chunked, count=20, pause=0.2),
    "silent": lambda _: time.sleep(3),
    "trickle": _trickle,
    "short": _short,
    "broken": partial(_status, code=503),
    "nonsense": _nonsense,
}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server that runs while this file's tests do."""
    with _Server(("127.0.0.1", 0), _Handler) as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.mark.parametrize("path", ["0.png", "0.png?size=full&x=é", "plain", "unnamed", "count/5", "é.png"])
def test_a_picture_comes_as_it_lies_there(server: str, path: str) -> None:
    fetched = load_image(f"{server}/{path}")
    own = open_image(PICTURE)
    assert fetched.mode == "RGB" and fetched.size == own.size and fetched.tobytes() == own.tobytes()


def test_files_and_addresses_side_by_side(server: str) -> None:
    first, second = load_images([str(PICTURE), f"{server}/0.png"])
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("nothing", "the server answers 404 Not Found"),
        ("broken", "the server answers 503 Service Unavailable"),
        ("page", "it is no picture but 'text/html'"),
        ("svg", "must be a complete image that Pillow reads as one of"),
        ("eps", "must be a complete image that Pillow reads as one of"),
        ("gzip", "in an encoding nobody asked for, 'gzip'"),
        ("count/6", "the server answers 302"),
        ("loop", "the server answers 302"),
        ("file", "redirection to url 'file:///etc/hostname' is not allowed"),
        ("ftp", "it leads on to 'ftp://127.0.0.1/0.png', which is not followed"),
        ("large", f"it has {2**40:,} bytes, more than"),
        ("odd", "its length is said to be '-5'"),
        ("short", "it broke off after 3 of 1,000 bytes"),
        ("nonsense", "nonsense"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_line(server: str, path: str, complaint: str) -> None:
    with pytest.raises(InputError) as refused:
        load_image(f"{server}/{path}")
    said = str(refused.value)
    assert complaint.lower() in said.lower() and f"{server}/{path}" in said and "\n" not in said


@pytest.mark.parametrize("path", ["chunked", "0.png"])
def test_more_than_the_limit_is_not_read(server: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MOST_BYTES", 2000)
    with pytest.raises(InputError, match="bytes, more than 2,000|it has more than 2,000 bytes"):
        fetch_picture(f"{server}/{path}")


@pytest.mark.parametrize("path", ["slow", "trickle", "silent"])
def test_all_of_it_has_a_time_limit(server: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "SECONDS", 0.5)
    began = time.monotonic()
    with pytest.raises(InputError, match=r"it took longer than 0.5 seconds"):
        fetch_picture(f"{server}/{path}")
    assert time.monotonic() - began < 2


def test_silence_has_a_shorter_one(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "SILENCE", 0.3)
    with pytest.raises(InputError, match=r"nothing came for 0.3 seconds"):
        fetch_picture(f"{server}/silent")


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:1/closed.png",
        "http://127.0.0.1:none/0.png",
        "http://127.0.0.1:99999/0.png",
        "http://",
        "https://[::1/0.png",
        "http://" + "a" * 70 + ".example/0.png",
        "http://a..b/0.png",
        "http://127.0.0.1:1/a\nb.png",
        "http://user:password@/0.png",
        "http://\ud800.example/0.png",
        "http://127.0.0.1:1/\ud800.png",
    ],
)
def test_an_address_that_leads_nowhere_is_one_line(address: str) -> None:
    with pytest.raises(InputError, match="a picture at an address must be there to fetch") as refused:
        load_image(address)
    assert "\n" not in str(refused.value)


def test_https_does_not_lead_to_http() -> None:
    class Asked:
        type = "https"

    with pytest.raises(OSError, match="leads on to 'http://example.org/0.png', which is not followed"):
        fetching._Redirects().redirect_request(Asked(), None, 302, "", {}, "http://example.org/0.png")


def test_only_web_addresses_are_addresses() -> None:
    assert is_address("https://a/b.png") and is_address("HTTP://a/b.png")
    assert not any(map(is_address, ["ftp://a/b", "file:///a", "http.png", "httpsomething", "a.png", b"http://a", None]))


def test_a_fault_of_ours_keeps_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bytes:
        raise KeyError("ours")

    monkeypatch.setattr(fetching, "_fetch", broken)
    with pytest.raises(KeyError, match="ours"):
        fetch_picture("http://127.0.0.1:1/")
