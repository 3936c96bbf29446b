"""Capturing: what is shared between graphs, what a capture that breaks leaves, and what makes it another graph."""

import gc

import pytest
import torch
from captures import BROKEN, Machine

from llava.model.generation.graph_pool import GraphPool
from llava.model.generation.graphs import Graphs
from llava.reduction.sent import sent

CPU = torch.device("cpu")


def test_a_graph_gives_numbers_of_its_inputs_as_they_are(replays: Machine) -> None:
    held, known = torch.zeros(2), [1.0]
    replay = GraphPool(CPU).capture(lambda: held * 2 + known[0] + sent([1.0, 2.0], "cpu"))
    held.copy_(torch.tensor([3.0, 4.0]))
    known[0] = 5.0  # too late
    assert replay().tolist() == [8.0, 11.0]
    held.fill_(0)
    assert replay().tolist() == [2.0, 3.0]


def test_work_that_changes_what_is_there_is_run_once_before_each_replay_and_not_captured(replays: Machine) -> None:
    count = torch.zeros(1)
    replay = GraphPool(CPU).capture(lambda: count.add_(1))
    assert count.item() == 1
    assert [replay().item() for _ in range(3)] == [2, 3, 4]


def test_the_stand_in_is_as_strict_as_a_graph(replays: Machine) -> None:
    pool, held = GraphPool(CPU), torch.ones(2)
    first, second = pool.capture(lambda: held + 1), pool.capture(lambda: held + 2)
    kept = first()
    assert kept.tolist() == [2, 2]
    second()
    assert kept.isnan().all()  # another graph of one memory
    assert pool.capture(lambda: held + torch.empty(2))().isnan().all()
    lost = pool.capture(lambda: torch.ones(2))
    inside = [torch.ones(2)]
    replay = pool.capture(lambda: inside[0] + 1)
    inside[0] = torch.zeros(2)
    gc.collect()
    assert lost().tolist() == [1, 1]
    with pytest.raises(AssertionError, match="freed"):
        replay()


def test_graphs_share_a_stream_and_a_memory(replays: Machine) -> None:
    pool = GraphPool(CPU)
    kept = [pool.capture(lambda: torch.ones(1)) for _ in range(5)]
    assert len(replays.streams) == 2 and len(replays.memories) == 1 and len(kept) == 5
    kept.clear()
    gc.collect()
    pool.forget()  # of a memory whose graphs are all gone no more can be had
    assert pool.capture(lambda: torch.ones(1))().item() == 1


@pytest.mark.parametrize("error", [RuntimeError("the first cause"), torch.OutOfMemoryError("full")])
def test_a_capture_that_breaks_leaves_the_stream_and_says_why(replays: Machine, error: RuntimeError) -> None:
    pool, stream, runs = GraphPool(CPU), torch.cuda.current_stream(), []

    def work() -> torch.Tensor:
        runs.append(1)
        if len(runs) == 2:
            try:
                torch.ones(1).item()
            except RuntimeError:
                raise error from None
        return torch.ones(1)

    with pytest.raises(type(error), match=str(error)):
        pool.capture(work)
    assert torch.cuda.current_stream() is stream
    assert pool.capture(lambda: torch.ones(1) + 1)().item() == 2  # elsewhere: the old memory may still be written to


def test_what_cannot_be_captured_runs_as_before(replays: Machine, caplog: pytest.LogCaptureFixture) -> None:
    calls, number = Graphs(CPU), torch.ones(2)
    assert [calls("key", lambda x: x + x.sum().item(), [number]).tolist() for _ in range(3)] == [[3.0, 3.0]] * 3
    assert caplog.text.count(BROKEN) == 1 and replays.captured == 0


def test_running_out_of_memory_is_told_and_forgiven(replays: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, number = Graphs(CPU), torch.ones(2)

    def full(_: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("full")

    calls("key", lambda x: x, [number])
    with pytest.raises(torch.OutOfMemoryError):
        calls("key", full, [number])
    assert calls("key", lambda x: x + 1, [number]).tolist() == [2, 2] and replays.captured == 1


def test_inference_mode_and_autocast_have_graphs_of_their_own(replays: Machine) -> None:
    calls, weight = Graphs(CPU), torch.nn.Parameter(torch.full((2, 2), 1.01))
    number = torch.ones(2, 2)

    def work(x: torch.Tensor) -> torch.Tensor:
        return x @ weight

    found = []
    with torch.no_grad():
        for casts in (False, True, False, True):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=casts):
                found += [calls("key", work, [number]).clone() for _ in range(3)]
    with torch.inference_mode():
        found += [calls("key", work, [number]).clone() for _ in range(3)]
    wanted = [torch.float32] * 3 + [torch.bfloat16] * 3
    assert [one.dtype for one in found] == [*wanted, *wanted, *[torch.float32] * 3]
    assert all(torch.equal(one, found[3 if one.dtype == torch.bfloat16 else 0]) for one in found)
    assert replays.captured == 3


def test_old_graphs_go_when_there_are_many(replays: Machine) -> None:
    calls = Graphs(CPU, kept=2)
    for key in (1, 1, 2, 2, 1, 3, 3, 1):  # 2 is the one unused longest
        assert calls(key, lambda x: x + 1, [torch.ones(1)]).item() == 2
    gc.collect()
    assert replays.captured == 3 and len(replays.memories[0].graphs) == 2
