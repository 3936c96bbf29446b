"""What `--batch-size auto` counts with for transformers' own classes, against what a prompt's cache really holds."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_hf import MODELS, inputs

import llava.hf
from llava.eval.runs.hf_memory import Seen, largest_picture, prefix_bytes, rows_that_fit, stage_tokens
from llava.hf.families import family_of

WAYS: list[dict[str, Any]] = [
    {"method": "visiondrop", "retain": 0.3},
    {"method": "visiondrop", "retain": 6},
    {"method": "visionzip", "retain": 0.4},
    {"method": "visionzip", "dominant": 0.5, "contextual": 0.1},
    {"method": "visionzip", "retain": 12},
    {"method": "none"},
]
# Views, tokens of each, and patches of the first tiny picture of each family.
PICTURES = {
    "qwen2": Seen(1, 24, 96),
    "qwen2_5": Seen(1, 24, 96),
    "qwen3": Seen(1, 24, 96),
    "internvl": Seen(3, 16, 192),
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_tokens_of_each_stage_are_those_of_the_cache(name: str, way: dict[str, Any]) -> None:
    model, seen = MODELS[name](), PICTURES[name]
    reduced = llava.hf.reduce(model, **way)
    given = inputs(model, [[0]])
    prefix = reduced.encode_image(**given)
    text = len(prefix.start) - seen.views * seen.tokens
    held = [prefix.cache.length(stage) - text for stage in range(len(prefix.cache.stages))]
    counted = stage_tokens(reduced, seen)
    assert len(counted) == len(held) and all(0 <= one - other <= 1 for one, other in zip(counted, held))
    layers = model.config.text_config.num_hidden_layers
    most = prefix.nbytes + prefix.nbytes // (text + held[-1]) * 2 + layers
    assert prefix.nbytes <= prefix_bytes(reduced, seen, text) <= most


@pytest.mark.parametrize("name", PICTURES)
def test_every_method_has_a_number_of_rows(name: str) -> None:
    """Fewer where there is less room, and one at least; also for questions without a picture."""
    model, seen = MODELS[name](), PICTURES[name]
    for method in family_of(model).methods():
        way = {} if method == "none" else {"retain": 0.5}
        reduced = llava.hf.reduce(model, method, **way)
        rows = [rows_that_fit(reduced, seen, 30, 8, 1, free) for free in (2**40, 2**20, 0)]
        assert rows[0] == 32 and rows == sorted(rows, reverse=True) and rows[2] == 1
        assert rows_that_fit(reduced, Seen(), 30, 8, 1, 2**40) == 32


def test_the_largest_of_a_few_pictures_is_looked_at() -> None:
    """One that cannot be read is passed over, and so are questions without any."""

    class Data(list):
        questions = [SimpleNamespace(image=image) for image in (None, "a", "b", "c", None)]
        processor: Any = SimpleNamespace(counts=lambda pixels: pixels, per_tile=0, patches_of_token=4)

    data: Any = Data([None, (0, [20], 0), ValueError(), (0, [30], 0), None])
    assert largest_picture(data) == Seen(1, 30, 120)
    data.processor.per_tile = 10
    assert largest_picture(data) == Seen(3, 10, 120)
    data.questions = data.questions[:1]
    assert largest_picture(data) == Seen()


def test_a_prefix_of_pictures_alone_has_bytes_too() -> None:
    model = MODELS["qwen3"]()
    prefix = llava.hf.reduce(model, "fastv", retain=0.5).encode_image(**inputs(model, [[0]]))
    assert prefix.cache is None and prefix.nbytes == 4 * torch.Size([24, 48, 1 + 3]).numel()
