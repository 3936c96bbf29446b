"""Matrix products by their rows: every form is the same product, and what reading leaves."""

import json
from pathlib import Path

import pytest
import torch
from commands import call

from llava.eval.speed import products
from llava.eval.speed.products import FORMS, layer_weights, matrices, measure_products, packed, plain
from llava.eval.speed.random_model import PRESETS

TINY = PRESETS["tiny"]
HERE = FORMS if torch.backends.mkldnn.is_available() else FORMS[:2]


@pytest.mark.parametrize("joined", [False, True])
def test_the_matrices_are_a_layers(joined: bool) -> None:
    assert sum(n * k for n, k in matrices(TINY, joined)) == layer_weights(TINY)


@pytest.mark.skipif(len(HERE) == 2, reason="this torch has no oneDNN")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_packed_product_is_the_same(dtype: torch.dtype) -> None:
    weight, x = torch.randn(48, 32).to(dtype), torch.randn(5, 32).to(dtype)
    torch.testing.assert_close(packed(weight, 5)(x), plain(weight, 5)(x))


def test_reading_that_is_not_hidden_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading takes 1 s, and a row 0.25 s: 4 rows run at half of the most, 12 of them at three quarters."""
    operations = 2 * TINY.layers * layer_weights(TINY)
    seconds = iter([1.0, 2.0, 4.0])

    def clocked(works: dict, *_: object) -> dict[str, float]:
        one = next(seconds)
        return dict.fromkeys(works, one)

    monkeypatch.setattr(products, "medians", clocked)
    one, four, most = measure_products(TINY, [4, 16], torch.float32, 1, "wall")
    assert [row["rows"] for row in (one, four, most)] == [1, 4, 16] and list(one)[2:-2] == list(HERE)
    assert most["joined"] == 16 * operations / 4 and most["of_most"] == 1 and four["of_most"] == 0.5
    assert four["left"] == pytest.approx(4 * operations / 2) and one["left"] == pytest.approx(operations / 1.25)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    flags = ["--preset", "tiny", "--rows", 8, 16, "--repeats", 1, "--json", tmp_path / "made/products.json"]
    done = call("products", capsys, *flags)
    assert done.code == 0 and "layers of 64 and 128; GFLOP/s\n\n| rows | one by one | joined |" in done.out
    rows = json.loads((tmp_path / "made/products.json").read_text())["rows"]
    assert [row["rows"] for row in rows] == [1, 8, 16] and done.out.count("\n| ") == 4
    assert call("products", capsys, "--rows", 1).code == 2
