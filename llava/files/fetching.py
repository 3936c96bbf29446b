"""Fetching a picture that a person names by its address on the web.

Only what a person types goes through here: addresses in data files are never followed.
"""

import http.client
import queue
import threading
import urllib.error
import urllib.parse
import urllib.request
from email.message import Message
from typing import Any

from llava.errors import InputError, one_line, shown
from llava.files.reading import reason

SCHEMES = ("http://", "https://")
SECONDS = 60  # for everything: names, redirects, the last byte
SILENCE = 15  # seconds without a byte
MOST_BYTES = 64 * 2**20
REDIRECTS = 5
# What servers call files of which they know nothing; what is in them is seen when they are decoded.
UNSPECIFIC = ("application/octet-stream", "binary/octet-stream", "")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a few redirects, to web addresses only and never from https to http."""

    max_redirections = max_repeats = REDIRECTS

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not newurl.lower().startswith(SCHEMES if req.type == "http" else SCHEMES[1]):
            raise urllib.error.URLError(f"it leads on to {shown(newurl)}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def is_address(name: object) -> bool:
    """Whether a picture's name is an address on the web."""
    return isinstance(name, str) and name.lower().startswith(SCHEMES)


def fetch_picture(address: str, handlers: tuple[urllib.request.BaseHandler, ...] | None = None) -> bytes:
    """What lies at an `http://` or `https://` address, as it came.

    At most MOST_BYTES in at most SECONDS, over at most REDIRECTS redirects; proxies are those of the environment. Taken
    is what the server calls an image, or of which it says nothing.

    Args:
        handlers: urllib's, that open addresses; None: those that open every web address.

    Raises:
        InputError: with the address, when it is not there, not to be reached, too slow, too large or no picture.
    """
    answers: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
    # In a thread, since nothing else ends a look-up of names or a header that trickles in.
    threading.Thread(target=_fetch_into, args=(answers, address, handlers or any_address()), daemon=True).start()
    try:
        content = answers.get(timeout=SECONDS)
    except queue.Empty:
        raise _refused(address, f"it took longer than {SECONDS} seconds") from None
    if isinstance(content, bytes):
        return content
    if not isinstance(content, (OSError, ValueError, http.client.HTTPException, MemoryError)):
        raise content  # a fault of ours; the others are what urllib raises for addresses, servers and networks
    raise _refused(address, _why(content)) from content


def _refused(address: str, why: str) -> InputError:
    return InputError(
        f"a picture at an address must be there to fetch: {shown(address, 300)} is not ({why}); check the address, or "
        f"save the picture and give the file"
    )


def any_address() -> tuple[urllib.request.BaseHandler, ...]:
    """Handlers for what a person at this machine asks for: also its own network, and through its proxies."""
    return urllib.request.ProxyHandler(), urllib.request.HTTPHandler(), urllib.request.HTTPSHandler()


def _fetch_into(
    answers: "queue.SimpleQueue[bytes | Exception]", address: str, handlers: tuple[urllib.request.BaseHandler, ...]
) -> None:
    try:
        answers.put(_fetch(address, handlers))
    except Exception as error:  # raised again where the answer is waited for
        answers.put(error)


def _fetch(address: str, handlers: tuple[urllib.request.BaseHandler, ...]) -> bytes:
    opener = urllib.request.OpenerDirector()  # build_opener would add ftp: and file:
    for handler in (
        *handlers,
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    request = urllib.request.Request(_in_ascii(address), headers={"User-Agent": "visiondrop", "Accept": "image/*"})
    with opener.open(request, timeout=SILENCE) as response:
        _check_header(response.headers)
        content = bytearray()
        while part := response.read1(2**16):
            content += part
            if len(content) > MOST_BYTES:
                raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
        expected = None if "Transfer-Encoding" in response.headers else response.headers.get("Content-Length")
        if expected is not None and len(content) != int(expected):
            raise ValueError(f"it broke off after {len(content):,} of {int(expected):,} bytes")
        return bytes(content)


def _check_header(headers: Message) -> None:
    kind = headers.get_content_type() if "Content-Type" in headers else ""
    if not kind.startswith("image/") and kind not in UNSPECIFIC:
        raise ValueError(f"it is no picture but {shown(kind)}")
    coding = headers.get("Content-Encoding", "identity")
    if coding.lower() != "identity":
        raise ValueError(f"it comes in an encoding nobody asked for, {shown(coding)}")
    length = headers.get("Content-Length", "0")
    if not (length.isascii() and length.isdecimal() and len(length) < 20):
        raise ValueError(f"its length is said to be {shown(length)}")
    if int(length) > MOST_BYTES:
        raise ValueError(f"it has {int(length):,} bytes, more than {MOST_BYTES:,}")


def _in_ascii(address: str) -> str:
    """The address with what is not ASCII as browsers send it: host names in IDNA, the rest in per cent signs."""
    parts = urllib.parse.urlsplit(address)
    rest = [urllib.parse.quote(part, safe="%/:?@!$&'()*+,;=~[]") for part in (parts.path, parts.query)]
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.encode("idna").decode(), *rest, ""))


def _why(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {one_line(error.reason)}"
    cause = error.reason if isinstance(error, urllib.error.URLError) else error  # a text, or what happened
    if isinstance(cause, TimeoutError):
        return f"nothing came for {SILENCE} seconds"
    return reason(cause) if isinstance(cause, Exception) else one_line(cause)
