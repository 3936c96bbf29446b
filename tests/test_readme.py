"""The method that the README adds is a method: found by its file, kept to the contract, run by a model."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import Load, sample

from llava import reduction
from llava.model.trace import Trace
from llava.reduction import registry

README = Path(__file__).parent.parent / "README.md"


@pytest.fixture
def _every_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The README's example as `every_other.py` beside the other methods, for one test."""
    [code] = [block for block in re.findall(r"```python\n(.*?)```", README.read_text(), re.S) if "EveryOther" in block]
    (tmp_path / "every_other.py").write_text(code)
    monkeypatch.setattr(reduction.methods, "__path__", [*reduction.methods.__path__, str(tmp_path)])
    registry._methods.cache_clear()
    yield
    registry._methods.cache_clear()


def test_the_example_method_runs(_every_other: None, load: Load) -> None:
    assert "every_other" in reduction.available()
    loaded = load("llava-tiny-12l")
    loaded.model.reduction = reduction.create("every_other", layer_list=[3, 6])
    asked, trace = sample(loaded, "What is it?", "0.png"), Trace()
    loaded.model.generate(**asked._asdict(), trace=trace, max_new_tokens=2, do_sample=False)
    assert [stage.layer for stage in trace.stages] == [3, 6]
    assert all(
        torch.equal(stage.selection.kept[0], torch.arange(0, n, 2)) for stage, n in zip(trace.stages, (576, 288))
    )
    assert [stage.selection.counts for stage in trace.stages] == [(288,), (144,)]
    assert loaded.model.reduction.tokens_per_stage(loaded.model.geometry) == [576, 288, 144]
