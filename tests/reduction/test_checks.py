"""Settings that make no sense: each one line that names the setting, what came and what was expected."""

from typing import Any

import pytest

from llava.errors import InputError
from llava.reduction import Geometry, create

GOOD: dict[str, Any] = {
    "dominant": 42,
    "contextual": 6,
    "layer_list": [8, 16, 24],
    "image_token_list": [[30, 5], [22, 4], [16, 3]],
}


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"dominant": 0}, "dominant must be a whole number of at least 1: got 0"),
        ({"dominant": -3}, "dominant must be .* got -3"),
        ({"dominant": 4.0}, "dominant must be .* got 4.0"),
        ({"dominant": True}, "dominant must be .* got True"),
        ({"dominant": "42"}, "dominant must be .* got '42'"),
        ({"dominant": None}, "dominant must be .* got None"),
        ({"contextual": -1}, "contextual must be a whole number of at least 0: got -1"),
        ({"layer_list": 8}, "layer_list must be a list of whole numbers of at least 1: got 8"),
        ({"layer_list": "[8,16,24]"}, r"layer_list must be a list .* got '\[8,16,24\]'"),
        ({"layer_list": [8, 16, 16]}, r"layer_list must rise: got \[8, 16, 16\]"),
        ({"layer_list": [16, 8, 24]}, "layer_list must rise"),
        ({"layer_list": [0, 8, 16]}, "layer_list must be a list of whole numbers of at least 1"),
        ({"layer_list": [8.5, 16, 24]}, "layer_list must be a list of whole numbers"),
        ({"layer_list": [True, 16, 24]}, "layer_list must be a list of whole numbers"),
        ({"layer_list": [[8], 16, 24]}, "layer_list must be a list of whole numbers"),
        ({"layer_list": [8, 16]}, "one .* pair per listed layer: got 3 pairs, expected 2"),
        ({"image_token_list": [30, 22, 16]}, r"image_token_list must be a list of \[dominant, contextual\] pairs"),
        ({"image_token_list": [[30, 5], [22, 4], [16]]}, "image_token_list must be a list of"),
        ({"image_token_list": [[30, 5], [22, 4], [16, 3, 1]]}, "image_token_list must be a list of"),
        ({"image_token_list": [[30, 5], [22, 4], [16, -1]]}, "pairs of at least 1 and 0"),
        ({"image_token_list": [[30, 5], [22, 4], [[16], 3]]}, "image_token_list must be a list of"),
        ({"image_token_list": [[30, 5], [30, 5], [16, 3]]}, "fewer tokens at each stage: got 35 after 35"),
        ({"image_token_list": [[22, 4], [30, 5], [16, 3]]}, "fewer tokens at each stage: got 35 after 26"),
        ({"image_token_list": {"a": 1}}, "image_token_list must be a list of"),
    ],
)
def test_visiondrop_refuses(changed: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as refused:
        create("visiondrop", **(GOOD | changed))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("ratios", "complaint"),
    [
        ([0.5, 0.5, 0.1], "fewer tokens at each stage: got 0.5 after 0.5"),
        ([0.5, 0.25, 0], "shares above 0 and below 1"),
        ([1.0, 0.5, 0.25], "shares above 0 and below 1"),
        ([0.5, -0.1, 0.1], "shares above 0 and below 1"),
        ([0.5, float("nan"), 0.1], "shares above 0 and below 1"),
        ([0.5, True, 0.1], "shares above 0 and below 1"),
        (["0.5", "0.2", "0.1"], "shares above 0 and below 1"),
        (0.5, "shares above 0 and below 1"),
        ([0.5, 0.25], "one ratio per listed layer: got 2, expected 3"),
    ],
)
def test_pyramiddrop_refuses(ratios: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        create("pyramiddrop", layer_list=[8, 16, 24], image_token_ratio_list=ratios)


@pytest.mark.parametrize(
    ("name", "settings", "geometry", "complaint"),
    [
        ("visionzip", {"dominant": 570, "contextual": 8}, Geometry(32, 576), r"got 570 \+ 8, expected at most 577"),
        ("visionzip", {"dominant": 570, "contextual": 7}, Geometry(32, 576, has_cls=False), "expected at most 576 in"),
        ("visiondrop", GOOD, Geometry(24, 576), "layer_list must stay below .* got 24, expected at most 23"),
        ("visiondrop", GOOD | {"dominant": 30, "contextual": 5}, Geometry(32, 576), "got 35 after 35"),
        ("visiondrop", GOOD | {"dominant": 575}, Geometry(32, 576), r"got 575 \+ 6, expected at most 577"),
        ("pyramiddrop", {}, Geometry(24, 576), "layer_list must stay below"),
        ("pyramiddrop", {}, Geometry(32, 7), "at least one token at each stage: got 0"),
    ],
)
def test_settings_that_do_not_fit_a_model_are_refused(
    name: str, settings: dict[str, Any], geometry: Geometry, complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        create(name, **settings).check(geometry)


@pytest.mark.parametrize(
    ("name", "settings", "geometry"),
    [
        ("visionzip", {"dominant": 570, "contextual": 7}, Geometry(32, 576)),
        ("visionzip", {"dominant": 570, "contextual": 6}, Geometry(32, 576, has_cls=False)),
        ("visiondrop", GOOD, Geometry(25, 576)),
        ("visiondrop", GOOD | {"layer_list": [], "image_token_list": []}, Geometry(2, 576)),
        ("pyramiddrop", {}, Geometry(25, 8)),
    ],
)
def test_settings_at_the_limit_are_accepted(name: str, settings: dict[str, Any], geometry: Geometry) -> None:
    create(name, **settings).check(geometry)
