"""The store of image prefixes: how much it holds, and what it lets go of first."""

import torch

from llava.model.generation.prefix import Block, ImagePrefix
from llava.model.generation.prefix_store import PrefixStore
from llava.reduction import create


def test_a_store_lets_go_of_what_was_not_used_longest() -> None:
    def prefix(count: int) -> ImagePrefix:
        return ImagePrefix((1, -200), create("none"), (1,), (2,), ((0, 1),), (Block(0, 0, 1, torch.zeros(count)),))

    store = PrefixStore(100)
    for key in "abcde":
        store.put(key, prefix(5))  # 20 bytes
    assert store.get("a") is not None and len(store) == 5 and store.nbytes == 100
    store.put("f", prefix(10))
    assert [store.get(key) is not None for key in "abcdef"] == [True, False, False, True, True, True]
    store.put("big", prefix(26))
    assert store.get("big") is None and len(store) == 4 and store.nbytes == 100
    store.put("a", prefix(1))
    assert store.nbytes == 84
    store.clear()
    assert len(store) == 0 and store.nbytes == 0
