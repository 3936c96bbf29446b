"""Words of lmms-eval's --model_args to a method, as lmms-eval hands them over."""

import dataclasses
from typing import Any

import pytest

from llava.errors import InputError
from llava.eval.harness.words import BUDGETS, read_words
from llava.reduction import Geometry, available, create, method_class

GEOMETRY = Geometry(32, 576, encoder_layers=24)


class Adapter:
    """Stands for one of lmms-eval's."""

    def __init__(self, pretrained: str = "", batch_size: int = 1, **kwargs: Any) -> None:
        raise AssertionError("words are read before anything is loaded")


def as_lmms_eval(text: str) -> Any:
    """The value that lmms-eval makes of a word."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.isnumeric():
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text


def method_of(**written: str) -> Any:
    _, choice = read_words({name: as_lmms_eval(text) for name, text in written.items()}, Adapter)
    return choice.build(GEOMETRY)


def test_the_adapters_words_are_its_own() -> None:
    own, choice = read_words({"pretrained": "here", "batch_size": 4, "retain": 32, "method": "visionzip"}, Adapter)
    assert own == {"pretrained": "here", "batch_size": 4}
    assert choice.build(GEOMETRY) == method_class("visionzip").from_budget(32, GEOMETRY)


@pytest.mark.parametrize("share", ["11.1%", "0.111", "64"])
def test_a_budget_is_a_number_or_a_share(share: str) -> None:
    assert method_of(retain=share) == method_class("visiondrop").from_budget(64, GEOMETRY)


def test_the_whole_is_a_share_too() -> None:
    assert method_of(retain="1.0") == method_of(retain="100%") == create("none")


def test_a_name_alone_has_its_usual_budget() -> None:
    assert method_of() == method_of(method="visiondrop") == method_class("visiondrop").from_budget(32, GEOMETRY)
    assert method_of(method="none") == create("none")


def test_lists_words_fractions_and_negative_numbers() -> None:
    lists = {"dominant": "42", "contextual": "6", "layer_list": "[8,16,24]"}
    drop = method_of(**lists, image_token_list="[[30,5],[22,4],[16,3]]", ranking="text")
    settings = {"dominant": 42, "contextual": 6, "layer_list": [8, 16, 24], "ranking": "text"}
    assert drop == create("visiondrop", image_token_list=[[30, 5], [22, 4], [16, 3]], **settings)
    assert method_of(method="random", keep="64", seed="-1") == create("random", keep=64, seed=-1)
    assert method_of(method="cdpruner", visual_token_num="64", text="7", published="True").text == "7"
    assert method_of(method="prumerge", reduction_ratio="0.125", adaptive="False").adaptive is False


def test_every_setting_of_every_method_is_a_word() -> None:
    for name in available():
        kind = method_class(name)
        made = kind() if name == "none" else kind.from_budget(96, GEOMETRY)
        written = {one.name: getattr(made, one.name) for one in dataclasses.fields(kind)}
        words = {key: str(value).replace("'", '"') for key, value in written.items() if value is not None}
        assert method_of(method=name, **words) == made, name


def test_a_preset() -> None:
    assert method_of(method="visiondrop", preset="paper-64") == method_class("visiondrop").from_preset(
        "paper-64", GEOMETRY
    )


def test_a_preset_of_one_method_names_it() -> None:
    """It fits models whose pictures differ in size; LLaVA's adapter refuses it."""
    _, choice = read_words({"preset": "visionzip 70%"}, Adapter)
    assert (choice.method, choice.settings) == ("visionzip", {"preset": "visionzip 70%"})
    for words in ({"preset": "visionzip 70%"}, {"preset": "paper-48"}):
        with pytest.raises(InputError, match="a preset is one of paper-192, .*paper-32 for a LLaVA: got"):
            method_of(**words)


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ({"retian": "32"}, "retian"),
        ({"method": "visionzip", "layer_list": "[8]"}, "layer_list' with method visionzip, which belongs to"),
        ({"method": "visoindrop"}, "visoindrop"),
        ({"retain": "0%"}, "0%"),
        ({"dominant": "0.2", "contextual": "6", "method": "visionzip"}, "0.2"),
        ({"dominant": "200%", "contextual": "6", "method": "visionzip"}, "200%"),
        ({"retain": "120%"}, "120%"),
        ({"retain": "many%"}, "many%"),
        ({"retain": "32.5"}, "32.5"),
        ({"retain": "many"}, "many"),
        ({"dominant": "42"}, "visiondrop"),
        ({"layer_list": "8"}, "layer_list"),
        ({"dominant": "true", "contextual": "6"}, "dominant"),
        ({"retain": "32", "preset": "paper-64"}, "preset"),
    ],
)
def test_what_is_no_word_is_named_in_one_line(written: dict[str, str], named: str) -> None:
    with pytest.raises(InputError) as refused:
        method_of(**written)
    assert named in str(refused.value) and "\n" not in str(refused.value)


def test_counts_may_be_shares_where_pictures_are_of_any_size() -> None:
    _, choice = read_words({"method": "visionzip", "dominant": 0.65, "contextual": "5%"}, Adapter)
    assert choice.settings == {"dominant": 0.65, "contextual": 0.05}


def test_no_setting_is_named_as_a_budget() -> None:
    taken = {"method", *BUDGETS}
    for name in available():
        assert not taken & {*method_class(name).__dataclass_fields__}, name
