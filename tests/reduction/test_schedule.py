"""Text to lists, budgets to schedules, schedules to averages and FLOPs."""

import json
from types import SimpleNamespace

import pytest
from conftest import CASES

from llava.errors import InputError
from llava.reduction import Geometry, create, method_class
from llava.reduction.checks import check_falling
from llava.reduction.positions import written_settings
from llava.reduction.schedule import (
    DecoderShape,
    average_tokens,
    describe,
    layers_per_stage,
    parse_list,
    parse_setting,
    prefill_flops,
)

LLAVA_7B = Geometry(layers=32, patches=576)
SHAPE_7B = DecoderShape(layers=32, hidden=4096, intermediate=11008, key_value_width=4096)
OFFICIAL = {"visiondrop-32": 32, "visiondrop-64-portrait": 64, "visiondrop-192": 192}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8,16,24",
        "(8,16)",
        "[8,16",
        "8",
        '"[8]"',
        '{"a": [1]}',
        "[8, 16,]",
        "[x]",
        "__import__('os').system('false')",
        "[__import__('os').getpid()]",
        "[" * 100000,
        "[" + "9" * 5000 + "]",
    ],
)
def test_what_is_no_list_is_refused_and_never_run(text: str) -> None:
    with pytest.raises(InputError, match="layer_list must be a list in square brackets: got"):
        parse_list("layer_list", text)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (int, "32", 32),
        (float, "0.5", 0.5),
        (float, "1", 1),
        (bool, "true", True),
        (bool, "false", False),
        (str, "add", "add"),
        (list[int], "[8,16]", [8, 16]),
    ],
)
def test_settings_are_read_as_their_kind(kind: object, text: str, value: object) -> None:
    read = parse_setting("setting", kind, text)
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("kind", "text", "complaint"),
    [
        (int, "3.5", "setting must be a whole number: got '3.5'"),
        (int, "true", "setting must be a whole number: got 'true'"),
        (float, "half", "setting must be a number: got 'half'; write it like 0.5"),
        (float, "true", "setting must be a number: got 'true'"),
        (float, "[1]", r"setting must be a number: got '\[1\]'"),
        (bool, "yes", "setting must be true or false: got 'yes'"),
        (bool, "1", "setting must be true or false: got '1'"),
        (list[int], "8", "setting must be a list in square brackets: got '8'"),
        (float, "[" * 100_000, "setting must be a number: got"),
        (float, "9" * 5000, "setting must be a number: got"),
    ],
)
def test_settings_of_another_kind_are_refused(kind: object, text: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        parse_setting("setting", kind, text)


def test_lists_are_read() -> None:
    assert parse_list("image_token_list", " [[30, 5],[22,4] , [16,3]]") == [[30, 5], [22, 4], [16, 3]]
    assert parse_list("layer_list", "[]") == []


@pytest.mark.parametrize("case", OFFICIAL)
def test_a_budget_makes_the_published_schedule(case: str) -> None:
    params = next(found["params"] for found in CASES if found["name"] == case)
    made = method_class("visiondrop").from_budget(OFFICIAL[case], LLAVA_7B)
    assert written_settings(made) == params


def test_32_tokens_are_the_papers_schedule() -> None:
    made = method_class("visiondrop").from_budget(32, LLAVA_7B)
    assert describe(made, LLAVA_7B) == (
        "--dominant 42 --contextual 6 --layer_list [8,16,24] --image_token_list [[30,5],[22,4],[16,3]]: "
        "48 in 8 layers, 35 in 8 layers, 26 in 8 layers, 19 in 8 layers"
    )
    assert average_tokens(made, LLAVA_7B) == 32.0


@pytest.mark.parametrize("layers", [4, 12, 22, 32, 40])
@pytest.mark.parametrize("retain", [16, 32, 57, 64, 128, 192])
def test_budget_of_visiondrop_is_met_at_a_quarter_half_and_three_quarters(layers: int, retain: int) -> None:
    geometry = Geometry(layers, 576)
    made = method_class("visiondrop").from_budget(retain, geometry)
    made.check(geometry)
    assert made.layers == [round(layers * part) for part in (0.25, 0.5, 0.75)]
    slack = 2 + retain * abs(sum(made.layers) / layers - 1.5)  # rounding of the counts, and of the layers' places
    assert abs(average_tokens(made, geometry) - retain) <= slack
    assert made.tokens_per_stage(geometry)[0] == pytest.approx(1.5 * retain, abs=1)


@pytest.mark.parametrize("retain", [32, 64, 192, 300])
@pytest.mark.parametrize("layers", [12, 32, 40])
def test_budget_of_pyramiddrop_is_met(layers: int, retain: int) -> None:
    geometry = Geometry(layers, 576)
    if retain <= 576 / layers:
        with pytest.raises(InputError, match="--retain of pyramiddrop must lie between"):
            method_class("pyramiddrop").from_budget(retain, geometry)
        return
    made = method_class("pyramiddrop").from_budget(retain, geometry)
    made.check(geometry)
    assert abs(average_tokens(made, geometry) - retain) < 1.5


@pytest.mark.parametrize(("retain", "counts"), [(64, (54, 10)), (32, (27, 5)), (192, (162, 30))])
def test_budget_of_visionzip_is_split_as_published(retain: int, counts: tuple[int, int]) -> None:
    made = method_class("visionzip").from_budget(retain, LLAVA_7B)
    assert (made.dominant, made.contextual) == counts
    assert average_tokens(made, LLAVA_7B) == retain


def test_views_share_the_encoders_budget() -> None:
    geometry = Geometry(32, 576, views=5)
    made = method_class("visiondrop").from_budget(320, geometry)
    made.check(geometry)
    assert made.tokens_per_stage(geometry) == [480, 350, 260, 190] and average_tokens(made, geometry) == 320


@pytest.mark.parametrize("retain", [64, 96, 128, 192, 640])
@pytest.mark.parametrize(("layers", "frames"), [(32, 16), (40, 14), (12, 20)])
def test_of_a_video_the_encoder_keeps_three_times_the_budget_and_the_average_is_the_budget(
    layers: int, frames: int, retain: int
) -> None:
    geometry = Geometry(layers, 576, views=frames, unreduced=144 * frames, frames=frames)
    made = method_class("visiondrop").from_budget(retain, geometry)
    check_falling("image_token_list", made.tokens_per_stage(geometry))
    assert made.layers == [layers // 4, layers // 2, 3 * layers // 4]
    assert made.tokens_per_stage(geometry)[0] == pytest.approx(3 * retain, abs=frames)
    assert average_tokens(made, geometry) == pytest.approx(retain, abs=1 + frames / 4)


def test_a_videos_schedule_in_numbers() -> None:
    geometry = Geometry(32, 576, views=8, unreduced=1153, frames=8)
    made = method_class("visiondrop").from_budget(192, geometry)
    assert (made.dominant, made.contextual) == (63, 9)
    assert made.image_token_list == [[72, 12], [53, 10], [38, 7]]
    assert made.tokens_per_stage(geometry) == [576, 84, 63, 45] and average_tokens(made, geometry) == 192
    with pytest.raises(InputError, match="--retain of visiondrop must leave fewer tokens at each stage: got 5"):
        method_class("visiondrop").from_budget(5, geometry)


def test_no_more_of_a_video_leaves_the_encoder_than_the_llm_would_get_unreduced() -> None:
    geometry = Geometry(32, 576, views=4, unreduced=577, frames=4)
    made = method_class("visiondrop").from_budget(300, geometry)
    made.check(geometry)
    assert made.tokens_per_stage(geometry) == [576, 273, 202, 148]
    assert average_tokens(made, geometry) == pytest.approx(300, abs=1)
    with pytest.raises(InputError, match="well below the tokens of the whole video: got 500 of 577; lower it"):
        method_class("visiondrop").from_budget(500, geometry)


def test_no_reduction_has_no_budget() -> None:
    with pytest.raises(InputError, match="--retain does not apply to the method 'none'"):
        method_class("none").from_budget(32, LLAVA_7B)


def test_layers_are_counted_between_drops() -> None:
    made = create("visiondrop", dominant=50, contextual=14, layer_list=[2, 9], image_token_list=[[33, 7], [9, 1]])
    assert layers_per_stage(made, 12) == [2, 7, 3]
    assert average_tokens(made, Geometry(12, 576)) == (2 * 64 + 7 * 40 + 3 * 10) / 12


def test_flops_of_a_layer_are_those_of_its_matrices() -> None:
    shape = DecoderShape(layers=3, hidden=8, intermediate=20, key_value_width=4)
    matrices = 8 * 8 * 2 + 8 * 4 * 2 + 8 * 20 * 3
    assert shape.layer_flops(5) == 2 * 5 * matrices + 2 * 2 * 5 * 5 * 8
    assert shape.layer_flops(1, cached=9) == 2 * matrices + 2 * 2 * 10 * 8
    made = create("visiondrop", dominant=4, contextual=2, layer_list=[1], image_token_list=[[2, 1]])
    assert prefill_flops(shape, made, Geometry(3, 16), 7) == shape.layer_flops(13) + 2 * shape.layer_flops(10)


def test_flops_are_near_the_papers() -> None:
    """The paper has 9.06 TFLOPs for LLaVA-1.5-7B and 2.11 at 64 tokens; it does not say how much text it counts."""
    text = 62
    full = prefill_flops(SHAPE_7B, create("none"), LLAVA_7B, text)
    reduced = prefill_flops(SHAPE_7B, method_class("visiondrop").from_budget(64, LLAVA_7B), LLAVA_7B, text)
    assert full == pytest.approx(9.06e12, rel=0.1)
    assert reduced == pytest.approx(2.11e12, rel=0.25)


def test_shape_is_read_from_a_configuration() -> None:
    config = SimpleNamespace(hidden_size=64, num_attention_heads=8, num_hidden_layers=2, intermediate_size=100)
    assert DecoderShape.of(config) == DecoderShape(2, 64, 100, 64)
    config.num_key_value_heads = 2
    assert DecoderShape.of(config) == DecoderShape(2, 64, 100, 16)
    config.head_dim = 16
    assert DecoderShape.of(config) == DecoderShape(2, 64, 100, 32)


def test_described_lists_are_read_back() -> None:
    made = method_class("visiondrop").from_budget(64, LLAVA_7B)
    words = describe(made, LLAVA_7B).split(": ")[0].split()
    read = {flag.removeprefix("--"): json.loads(value) for flag, value in zip(words[::2], words[1::2])}
    assert create("visiondrop", **read) == made
