"""Methods that choose before the LLM: budgets, settings that are refused, and what `published` changes."""

from typing import Any

import pytest
import torch
from encoder_fakes import PATCHES, FakeViews, before_the_llm

from llava.errors import InputError
from llava.reduction import Geometry, available, create, method_class, resolve
from llava.reduction.schedule import average_tokens, describe

CLIP_336 = Geometry(layers=32, patches=576)
NEXT = Geometry(layers=32, patches=576, views=5, unreduced=2928)  # 48 newlines
METHODS = [
    "cdpruner",
    "divprune",
    "downsample",
    "fastervlm",
    "hiprune",
    "holov",
    "mmtok",
    "pool",
    "prumerge",
    "prunesid",
]
METHODS += ["prunesid", "tome", "trim", "vscan"]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("retain", [192, 128, 64, 32])
def test_a_budget_is_met_exactly(name: str, retain: int) -> None:
    made = method_class(name).from_budget(retain, CLIP_336)
    made.check(CLIP_336)
    assert average_tokens(made, CLIP_336) == retain
    tiled = method_class(name).from_budget(5 * retain, NEXT)
    tiled.check(NEXT)
    assert abs(average_tokens(tiled, NEXT) - 5 * retain) <= 5


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("retain", [578, int("9" * 400)])
def test_more_than_there_is_is_refused_in_one_line(name: str, retain: int) -> None:
    with pytest.raises(InputError) as refused:
        # VScan's first stage is half as large again.
        method_class(name).from_budget(retain, CLIP_336).check(CLIP_336)
    assert "\n" not in str(refused.value)


def test_newlines_that_always_stay_are_part_of_the_budget() -> None:
    made = method_class("fastervlm").from_budget(148, NEXT)
    assert made == create("fastervlm", visual_token_num=20) and average_tokens(made, NEXT) == 148
    with pytest.raises(InputError, match="fastervlm must leave a token of each view: got 50, expected at least 53"):
        method_class("fastervlm").from_budget(50, NEXT)


def test_a_budget_takes_a_setting_beside_it() -> None:
    made = resolve({"method": "holov", "retain": 64, "published": True}, CLIP_336)
    assert made == create("holov", new_image_token_num=64, published=True)
    asked = resolve({"method": "trim", "retain": 64, "text": "a red square"}, CLIP_336)
    assert describe(asked, CLIP_336).startswith("--k 0.110") and "--text 'a red square'" in describe(asked, CLIP_336)


@pytest.mark.parametrize(
    ("name", "settings", "complaint"),
    [
        ("divprune", {"subset_ratio": 1.1}, "subset_ratio must be a number of at least 0 and at most 1: got 1.1"),
        ("holov", {"new_image_token_num": 0}, "new_image_token_num must be a whole number of at least 1: got 0"),
        ("holov", {"new_image_token_num": 9, "num_patches": 0}, "num_patches must be a whole number .* got 0"),
        ("hiprune", {"retention": 9, "object_layer": 0}, "object_layer must be a whole number .* got 0"),
        ("hiprune", {"retention": 9, "alpha": -1}, "alpha must be a number of at least 0 .* got -1"),
        ("prumerge", {"variant": "prumerge++"}, r"variant must be prumerge or prumerge\+: got 'prumerge\+\+'"),
        ("prumerge", {"adaptive": 1}, "adaptive must be true or false: got 1"),
        ("prunesid", {"visual_token_num": 1}, "visual_token_num of prunesid must be at least 2"),
        ("prunesid", {"visual_token_num": 9, "seed": 0.5}, "seed must be a whole number: got 0.5"),
        ("cdpruner", {"visual_token_num": 9, "text": 3}, "text must be a text: got 3"),
        ("mmtok", {"visual_token_num": 9, "word_temperature": 0}, "word_temperature must be at least 0.0001: got 0"),
        ("trim", {"k": 0}, "k must be a share above 0, or -1: got 0"),
        ("trim", {"k": -0.5}, "k must be a share above 0, or -1: got -0.5"),
        ("vscan", {"visual_token_num": 9, "layer_list": [3]}, "needs one count per listed layer: got 0, expected 1"),
        ("vscan", {"visual_token_num": 9, "early_layer": -1}, "early_layer must be a whole number"),
        ("pool", {"rows": 3}, "'pool' needs cols"),
        ("downsample", {"rows": 3, "cols": True}, "cols must be a whole number of at least 1: got True"),
    ],
)
def test_bad_settings_are_refused_in_one_line(name: str, settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as refused:
        create(name, **settings)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "settings", "geometry", "complaint"),
    [
        (
            "hiprune",
            {"retention": 9, "object_layer": 25},
            CLIP_336,
            "object_layer of hiprune .* got 25, expected at",
        ),
        ("vscan", {"visual_token_num": 9, "early_layer": 24}, CLIP_336, "early_layer must be a layer .* got 24"),
        ("vscan", {"visual_token_num": 9}, Geometry(32, 729), "windows: got 27 patches on a side"),
        ("vscan", {"visual_token_num": 9, "layer_list": [3], "image_token_list": [9]}, CLIP_336, "keep fewer tokens"),
        ("prumerge", {}, Geometry(32, 729, has_cls=False), "prumerge needs a vision encoder with a .CLS. token"),
        ("trim", {}, Geometry(32, 729, has_cls=False), "trim needs a vision encoder with a .CLS. token"),
        ("cdpruner", {"visual_token_num": 9}, Geometry(32, 729, has_cls=False), "cdpruner needs a vision encoder with"),
        (
            "prumerge",
            {"adaptive": False, "reduction_ratio": 0.001},
            CLIP_336,
            "reduction_ratio must leave at least",
        ),
        ("divprune", {"subset_ratio": 0.0001}, CLIP_336, "subset_ratio must leave at least one token"),
        ("trim", {"k": 0.001}, CLIP_336, "k must leave at least one patch"),
        ("pool", {"rows": 25, "cols": 4}, CLIP_336, "must not exceed a view's patches on a side: got 25 x 4"),
        ("tome", {"visual_token_num": 9}, Geometry(32, 576, encoder_layers=3), "halving at most in each of 2 encoder"),
        (
            "holov",
            {"new_image_token_num": 577},
            CLIP_336,
            "must not exceed what an image has: got 577, expected",
        ),
    ],
)
def test_settings_that_do_not_fit_a_model_are_refused(
    name: str, settings: dict[str, Any], geometry: Geometry, complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint) as refused:
        create(name, **settings).check(geometry)
    assert "\n" not in str(refused.value)


def test_prunesid_draws_anew_as_published_and_by_its_seed_by_default() -> None:
    def groups(**settings: Any) -> list[int]:
        method = create("prunesid", visual_token_num=20, **settings)
        chosen = before_the_llm(method, FakeViews.random(method, 1))
        assert chosen is not None and chosen.keeps_cls and chosen.counts == (20,)
        return chosen.kept[0].tolist()

    assert groups() == groups() and len({tuple(groups(seed=seed)) for seed in range(5)}) > 1
    torch.manual_seed(0)
    assert len({tuple(groups(published=True)) for _ in range(5)}) > 1


def test_vscan_as_published_keeps_fewer_where_windows_do_not_share_out() -> None:
    geometry = Geometry(12, PATCHES)
    for settings, kept in (({}, 24), ({"published": True}, 12), ({"visual_token_num": PATCHES}, None)):
        method = create("vscan", **{"visual_token_num": 24} | settings)
        method.check(geometry)
        chosen = before_the_llm(method, FakeViews.random(method, 1))
        assert (None if chosen is None else chosen.counts[0]) == kept
        assert method.tokens_per_stage(geometry) == [kept or PATCHES]


def test_the_methods_here_are_all_that_are_new() -> None:
    assert set(METHODS) <= set(available())
