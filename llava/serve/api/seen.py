"""Pictures that came a moment ago, ready for the model: a conversation sends its picture with every turn."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Hashable

from llava.serve.engine.request import Picture

BYTES = 256 * 2**20  # of pixels; the one unused longest goes first


def key_of(url: str, beside_others: bool) -> Hashable | None:
    """What makes a `data:` address the same picture prepared alike; None: what is there may change."""
    if url[:5].lower() != "data:":
        return None
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).digest(), beside_others


class SeenPictures:
    """Prepared pictures up to so many bytes. Asked from several threads."""

    def __init__(self, limit: int = BYTES) -> None:
        self._limit, self._bytes = limit, 0
        self._held: OrderedDict[Hashable, Picture] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable | None) -> Picture | None:
        """The picture under a key, now the one used last."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def put(self, key: Hashable | None, picture: Picture) -> None:
        """Keep a picture, and let go of others until all fit."""
        with self._lock:
            if key is None or key in self._held or _bytes(picture) > self._limit:
                return
            self._held[key] = picture
            self._bytes += _bytes(picture)
            while self._bytes > self._limit:
                self._bytes -= _bytes(self._held.popitem(last=False)[1])


def _bytes(picture: Picture) -> int:
    return picture.pixels.numel() * picture.pixels.element_size()
