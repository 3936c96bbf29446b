"""A method named as text, wherever one is taken."""

from typing import Any

import pytest

from llava.errors import InputError
from llava.reduction import Geometry, available, create, method_class, resolve
from llava.reduction.schedule import average_said, average_tokens, describe

GEOMETRY = Geometry(32, 576)
OFFICIAL = create(
    "visiondrop", dominant=42, contextual=6, layer_list=[8, 16, 24], image_token_list=[[30, 5], [22, 4], [16, 3]]
)


@pytest.mark.parametrize(
    ("method", "wanted"),
    [
        (None, create("none")),
        ("none", create("none")),
        (OFFICIAL, OFFICIAL),
        ("visiondrop", OFFICIAL),
        ({"method": "visiondrop"}, OFFICIAL),
        ({"method": "visiondrop", "retain": 32}, OFFICIAL),
        ("visionzip", create("visionzip", dominant=54, contextual=10)),
        ("pyramiddrop", create("pyramiddrop")),
        ({"method": "visionzip", "dominant": 20, "contextual": 4}, create("visionzip", dominant=20, contextual=4)),
        ({"method": "random", "retain": 64, "seed": 3}, create("random", keep=64, seed=3)),
        ({"method": "none"}, create("none")),
    ],
)
def test_every_way_to_name_a_method(method: Any, wanted: Any) -> None:
    assert resolve(method, GEOMETRY) == wanted


@pytest.mark.parametrize("name", [name for name in available() if name != "none"])
def test_a_budget_is_a_methods_own_schedule(name: str) -> None:
    made = resolve({"method": name, "retain": 192}, GEOMETRY)
    assert made == method_class(name).from_budget(192, GEOMETRY)
    assert abs(average_tokens(made, GEOMETRY) - 192) < 2


def test_vtw_gives_what_is_left_of_a_budget_to_one_more_layer() -> None:
    for retain, layer, more in ((180, 10, 0), (192, 10, 384), (64, 3, 320), (18, 1, 0)):
        made = resolve({"method": "vtw", "retain": retain}, GEOMETRY)
        assert made == create("vtw", layer=layer, remainder=more) and average_tokens(made, GEOMETRY) == retain


@pytest.mark.parametrize("name", ["fastv", "dart", "v2drop", "sparsevlm", "vtw"])
def test_a_budget_below_the_first_layers_is_said_to_be_impossible(name: str) -> None:
    for retain in (17 if name == "vtw" else 32, 576, 10**9):
        rule = f"--retain of {name} must lie between .*: got {retain}, expected at least"
        with pytest.raises(InputError, match=rule):
            resolve({"method": name, "retain": retain}, GEOMETRY)
    made = resolve({"method": name, "retain": 64, "positions": "renumber"}, GEOMETRY)
    assert abs(average_tokens(made, GEOMETRY) - 64) < 0.5 and made.positions == "renumber"


@pytest.mark.parametrize(
    ("name", "most"),
    [("visiondrop", 3), ("pyramiddrop", 3), ("sparsevlm", 3), ("v2drop", 3)]
    + [("fastv", 1), ("dart", 1), ("vtw", 1), ("vscan", 1)],
)
def test_a_model_with_too_few_layers_for_a_schedule_is_said_to_be_that(name: str, most: int) -> None:
    """And not that settings make no sense which nobody gave; with a layer more it is about the budget, if at all."""
    for layers in range(1, most + 1):
        for retain in (64, 300, 575):
            rule = f"a budget of {name} is spread over the LLM's layers: got a model of {layers}, which has too few"
            with pytest.raises(InputError, match=rule):
                resolve({"method": name, "retain": retain}, Geometry(layers, 576))
    enough = Geometry(most + 1, 576)
    retain = 288 if name == "vtw" else 300  # one layer of two
    assert abs(average_tokens(resolve({"method": name, "retain": retain}, enough), enough) - retain) < 6


def test_a_mapping_is_left_as_it_is() -> None:
    given = {"method": "visiondrop", "retain": 64}
    resolve(given, GEOMETRY)
    assert given == {"method": "visiondrop", "retain": 64}


@pytest.mark.parametrize(
    ("method", "complaint"),
    [
        ("fastest", "unknown reduction method 'fastest': expected one of "),
        ("VisionDrop", "unknown reduction method 'VisionDrop'"),
        ("", "unknown reduction method ''"),
        ("random", '"retain": 32}, or its settings: keep'),
        ({"retain": 32}, "must hold its name"),
        ({"method": None, "retain": 32}, "must hold its name"),
        ({"method": "visionzip", 3: 4}, "settings by name"),
        ({"method": "visiondrop", "retain": 0}, "retain must be a whole number of at least 1: got 0"),
        ({"method": "visiondrop", "retain": "32"}, "retain must be a whole number of at least 1: got '32'"),
        ({"method": "visiondrop", "retain": 32.5}, "retain must be a whole number"),
        ({"method": "visiondrop", "retain": 10**9}, "must not exceed what the encoder has"),
        ({"method": "visiondrop", "retain": 32, "dominant": 42}, "retain makes the whole schedule .* with 'dominant'"),
        ({"method": "visiondrop", "dominant": 42}, "method 'visiondrop' needs contextual, layer_list"),
        ({"method": "visionzip", "dominant": 5, "contextual": 4, "name": 3}, "has no setting 'name'"),
        ({"method": "none", "retain": 32}, "does not apply to the method 'none'"),
        (32, "must be a Reduction, a name or a mapping: got 32"),
        (["visiondrop"], "must be a Reduction, a name or a mapping"),
        (method_class("none"), "must be a Reduction, a name or a mapping"),
    ],
)
def test_what_names_no_method_is_refused(method: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as error:
        resolve(method, GEOMETRY)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("method", "complaint"),
    [
        # Four pivots and eight equal shares: 28 after the second layer, where the budget wants 30.
        ({"method": "dart", "retain": 64, "published": True}, "published of method 'dart' makes 62.2 .* of 64"),
        ({"method": "vscan", "retain": 32, "published": True}, "published of method 'vscan' makes 28.0 .* of 32"),
        ({"method": "visionzip", "retain": 1}, "--retain of visionzip must be at least 2: got 1, expected at least 2"),
        ({"method": "prunesid", "retain": 1}, "--retain of prunesid must be at least 2: got 1"),
    ],
)
def test_a_budget_that_would_not_be_what_computes_is_refused(method: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        resolve(method, GEOMETRY)


def test_what_leaves_a_budget_as_it_is_may_be_said_beside_it() -> None:
    for name in ("sparsevlm", "divprune", "prunesid", "holov"):
        made = resolve({"method": name, "retain": 96, "published": True}, GEOMETRY)
        assert made.published is True and abs(average_tokens(made, GEOMETRY) - 96) <= 0.02 * 96
    made = resolve({"method": "dart", "preset": "paper-64", "published": False}, GEOMETRY)
    assert average_tokens(made, GEOMETRY) == (2 * 576 + 30 * 64) / 32


@pytest.mark.parametrize("name", ["prumerge", "trim"])
def test_counts_that_the_picture_says_are_announced_as_the_most_there_can_be(name: str) -> None:
    adaptive, fixed = resolve(name, GEOMETRY), resolve({"method": name, "retain": 64}, GEOMETRY)
    assert describe(adaptive, GEOMETRY).endswith("at most 577 in 32 layers")
    assert (average_said(adaptive, GEOMETRY), average_said(fixed, GEOMETRY)) == ("at most 577.0", "64.0")
    assert describe(fixed, GEOMETRY).endswith(": 64 in 32 layers")


def test_what_is_named_is_checked_against_the_model() -> None:
    with pytest.raises(InputError, match="layer_list must stay below"):
        resolve("pyramiddrop", Geometry(12, 576))
    with pytest.raises(InputError, match="layer_list must stay below"):
        resolve(OFFICIAL, Geometry(12, 576))
    assert resolve("visiondrop", Geometry(12, 576)).layers == [3, 6, 9]
