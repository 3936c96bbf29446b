"""`--preset paper-64`: what was published, and what it computes."""

import pytest

from llava.errors import InputError
from llava.eval.runs.command import Parser
from llava.eval.runs.method_options import add_method_options, method_from
from llava.reduction import Geometry, available, create, method_class, resolve
from llava.reduction.paper import PRESETS
from llava.reduction.schedule import average_tokens

LLAVA = Geometry(layers=32, patches=576)
# Averages of 192, 128, 64 and 32 tokens; None: nothing was published.
INSIDE_THE_LLM = {
    "fastv": (191.625, 127.875, 64.125, None),
    "pyramiddrop": (191.9, 127.9, 64.1, None),
    "v2drop": (193.8, 131.0, 66.7, None),
    "sparsevlm": (206.5, 145.4, 82.2, None),
    "dart": (219.75, 159.75, 99.75, None),
    "vscan": (192, 128, 64, None),
    "visionzip": (192, 128, 64, None),
}
WITHOUT = ("none", "gprune", "random", "pool", "downsample", "vtw")


@pytest.mark.parametrize("name", available())
def test_presets_come_to_what_was_computed_by_hand(name: str) -> None:
    expected = INSIDE_THE_LLM.get(name, (None,) * 4 if name in WITHOUT else (192, 128, 64, 32))
    for preset, average in zip(PRESETS, expected):
        if average is None:
            with pytest.raises(InputError, match="a preset needs settings that were published"):
                method_class(name).from_preset(preset, LLAVA)
            continue
        method = resolve({"method": name, "preset": preset}, LLAVA)
        assert average_tokens(method, LLAVA) == pytest.approx(average, abs=0.06)


def test_lists_are_the_published_ones() -> None:
    tokens = {name: [resolve({"method": name, "preset": preset}, LLAVA).tokens_per_stage(LLAVA)
                     for preset in PRESETS[:3]] for name in ("pyramiddrop", "v2drop", "visiondrop")}  # fmt: skip
    assert tokens["pyramiddrop"] == [[576, 322, 180, 101], [576, 242, 102, 42], [576, 111, 21, 4]]
    assert tokens["v2drop"] == [[576, 288, 86, 1], [576, 161, 40, 1], [576, 28, 1, 1]]
    assert tokens["visiondrop"] == [[288, 210, 156, 114], [192, 140, 104, 76], [96, 70, 52, 38]]


@pytest.mark.parametrize(
    ("method", "geometry", "complaint"),
    [
        ({"method": "fastv", "preset": "paper-48"}, LLAVA, "a preset is one of paper-192, .*: got 'paper-48'"),
        ({"method": "fastv", "preset": 64}, LLAVA, "a preset is one of paper-192, .*: got 64"),
        ({"method": "fastv", "preset": "paper-32"}, LLAVA, "expected one of paper-192, paper-128, paper-64;"),
        ({"method": "vtw", "preset": "paper-64"}, LLAVA, "which has none at all"),
        ({"method": "scope", "preset": "paper-64"}, Geometry(32, 576, views=5), "pictures of up to 5 views"),
        ({"method": "scope", "preset": "paper-64"}, Geometry(32, 64, views=8, frames=8), "a video of 8 frames"),
        ({"method": "scope", "preset": "paper-192"}, Geometry(8, 100), "must not exceed what the encoder has"),
        ({"method": "vscan", "preset": "paper-64"}, Geometry(8, 576), "must stay below the number of LLM layers"),
        ({"method": "scope", "preset": "paper-64", "alpha": 2}, LLAVA, "preset makes the whole schedule"),
        ({"method": "scope", "preset": "paper-64", "retain": 64}, LLAVA, "makes the whole schedule"),
    ],
)
def test_what_was_not_published_is_refused(method: dict, geometry: Geometry, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        resolve(method, geometry)


def _method(*flags: str) -> object:
    parser = Parser()
    add_method_options(parser)
    return method_from(parser.parse_args(list(flags))).build(LLAVA)


def test_flags_name_presets_like_mappings() -> None:
    assert _method("--method", "fastv", "--preset", "paper-64", "--positions", "renumber") == create(
        "fastv", fast_v_agg_layer=2, fast_v_attention_rank=30, positions="renumber"
    )
    assert _method("--preset", "paper-32") == resolve({"method": "visiondrop", "retain": 32}, LLAVA)
    with pytest.raises(InputError, match="a run has one schedule: got --retain 64 and --preset paper-64"):
        _method("--method", "fastv", "--preset", "paper-64", "--retain", "64")
    with pytest.raises(InputError, match="--preset makes the whole schedule: got it with --fast_v_agg_layer"):
        _method("--method", "fastv", "--preset", "paper-64", "--fast_v_agg_layer", "3")
