"""Image prefixes that are kept for later questions, up to so many bytes; the one unused longest goes first."""

from collections import OrderedDict
from collections.abc import Hashable

from llava.model.generation.prefix import ImagePrefix


class PrefixStore:
    """A cache with a byte limit. Prefixes stay where they are made, on the device.

    Args:
        limit: bytes of all prefixes together; one that is larger by itself is not kept.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.nbytes = limit, 0
        self._held: OrderedDict[Hashable, ImagePrefix] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: Hashable) -> ImagePrefix | None:
        """The prefix kept under a key, now the one used last; None: there is none."""
        if key in self._held:
            self._held.move_to_end(key)
        return self._held.get(key)

    def put(self, key: Hashable, prefix: ImagePrefix) -> None:
        """Keep a prefix, and let go of others until all fit."""
        self.drop(key)
        if prefix.nbytes > self.limit:
            return
        self._held[key] = prefix
        self.nbytes += prefix.nbytes
        while self.nbytes > self.limit:
            self.drop(next(iter(self._held)))

    def drop(self, key: Hashable) -> None:
        """Let go of one, if it is there."""
        prefix = self._held.pop(key, None)
        self.nbytes -= prefix.nbytes if prefix is not None else 0

    def clear(self) -> None:
        """Let go of all."""
        self._held.clear()
        self.nbytes = 0
