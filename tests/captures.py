"""A stand-in for CUDA graphs on the CPU: what is captured is done again at every replay."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from llava.model.cache.staged_cache import StagedCache
from llava.model.generation import graphs, static_decoder
from llava.model.generation.graphs import Graphs
from llava.model.generation.static_decoder import StaticDecoder
from llava.reduction.sent import Tables


def tensors_of(result: Any) -> list[torch.Tensor]:
    """Every tensor of what captured work returns."""
    if isinstance(result, torch.Tensor):
        return [result]
    if isinstance(result, StagedCache):
        return [tensor for layer in result.layers for tensor in (layer.keys, layer.values)]
    return [tensor for one in result for tensor in tensors_of(one)] if isinstance(result, (tuple, list)) else []


class Replays:
    """In place of `as_graph`: every replay does the work again, with the tables of the first run, into its tensors."""

    def __init__(self) -> None:
        self.captured = self.replayed = 0

    def __call__(self, work: Callable[[], Any], *_: object) -> Callable[[], Any]:
        tables = Tables()
        with tables.kept():
            work()
        with tables.handed_out():
            result = work()
        self.captured += 1

        def replay() -> Any:
            self.replayed += 1
            with tables.handed_out():
                for held, new in zip(tensors_of(result), tensors_of(work()), strict=True):
                    held.copy_(new)
            return result

        return replay


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> Replays:
    made = Replays()
    monkeypatch.setattr(graphs, "as_graph", made)
    monkeypatch.setattr(static_decoder, "as_graph", made)
    return made


def capturing(model: Any) -> StaticDecoder:
    """A decoder that takes this device for a GPU."""
    decoder = StaticDecoder(model)
    decoder._graphs = Graphs(model.device)
    return decoder
