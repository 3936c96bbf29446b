"""The method that `docs/methods.md` has a reader write in ten minutes is one: found, budgeted, run, told apart."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import Load, sample

from llava import reduction
from llava.errors import InputError
from llava.eval.curves.runs import plan_runs
from llava.model.trace import Trace
from llava.reduction import Geometry, registry, resolve

PAGE = Path(__file__).parent.parent / "docs/methods.md"


@pytest.fixture
def _brightest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The page's only block of Python as `brightest.py` beside the other methods, for one test."""
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    (tmp_path / "brightest.py").write_text(code)
    monkeypatch.setattr(reduction.methods, "__path__", [*reduction.methods.__path__, str(tmp_path)])
    registry._methods.cache_clear()
    yield
    registry._methods.cache_clear()


def test_it_keeps_the_longest_vectors(_brightest: None, load: Load) -> None:
    loaded = load("llava-tiny-12l")
    model = loaded.model
    method = resolve({"method": "brightest", "retain": 40}, model.geometry)
    asked, trace = sample(loaded, "What is it?", "0.png"), Trace()
    model.generate(**asked._asdict(), reduction=method, trace=trace, max_new_tokens=2, do_sample=False)
    assert trace.encoder is not None and trace.layout is not None
    assert [span.length for span in trace.layout.spans] == [40]
    best = trace.encoder.scores[0].topk(40).indices.sort().values
    assert torch.equal(trace.encoder.kept[0], best)


def test_it_has_budgets_and_refuses_what_does_not_fit(_brightest: None) -> None:
    runs, unreached = plan_runs(Geometry(8, 256), ["brightest"], [3, 9], seeds=1)
    assert [(run.retain, run.tokens) for run in runs] == [(85, 85.0), (28, 28.0)] and unreached == []
    assert resolve({"method": "brightest", "retain": 320}, Geometry(8, 576, views=5)).keep == 64  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="keep must not exceed what the encoder has: got 600"):
        resolve({"method": "brightest", "keep": 600}, Geometry(8, 576))
    with pytest.raises(InputError, match="which has none at all"):
        resolve({"method": "brightest", "preset": "paper-64"}, Geometry(32, 576))
