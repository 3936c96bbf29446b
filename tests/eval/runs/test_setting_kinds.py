"""Flags of settings that are shares, words or switches reach the method, or are refused in one line."""

import dataclasses
from typing import Any

import pytest

from llava.errors import InputError
from llava.eval.runs.command import Parser
from llava.eval.runs.method_options import add_method_options, method_from
from llava.reduction import Geometry, create
from llava.reduction.positions import written_settings
from llava.reduction.schedule import describe


def chosen(*words: str) -> Any:
    parser = Parser()
    add_method_options(parser)
    return method_from(parser.parse_args(words)).build(Geometry(layers=32, patches=576))


def test_numbers_words_and_switches_reach_the_method() -> None:
    pruner = chosen(
        "--method", "vispruner", "--visual_token_num", "64", "--important_ratio", "0.75", "--published", "true"
    )
    assert pruner == create("vispruner", visual_token_num=64, important_ratio=0.75, published=True)
    scope = chosen("--method", "scope", "--num_token", "64", "--alpha", "2", "--combined", "add")
    assert scope == create("scope", num_token=64, alpha=2.0, combined="add")


def test_positions_may_be_said_beside_settings_and_beside_a_budget() -> None:
    for words in (["--method", "fastv", "--retain", "64"], ["--retain", "64"]):
        made = chosen(*words)
        other = {"keep": "renumber", "renumber": "keep"}[made.positions]
        assert chosen(*words, "--positions", other) == dataclasses.replace(made, positions=other)
        assert chosen(*words, "--positions", made.positions) == made
    lists = ["--layer_list", "[3,7,16]", "--image_token_list", "[66,30,17]", "--positions", "keep"]
    sparse = chosen("--method", "sparsevlm", *lists)
    assert sparse == create("sparsevlm", image_token_list=[66, 30, 17], positions="keep")
    forms = chosen("--method", "fastv", "--mode", "mask", "--ratio_kept", "0.25", "--fast_v_agg_layer", "3")
    assert forms == create("fastv", mode="mask", ratio_kept=0.25, fast_v_agg_layer=3)
    assert chosen("--method", "sparsevlm", "--release", "1.0", "--scale", "9", "--bias", "6").tokens_per_stage(
        Geometry(32, 576)
    ) == [576, 146, 133, 133, 133]


def test_a_setting_whose_word_is_taken_has_a_flag_of_its_own() -> None:
    """--temperature is of sampling."""
    words = ["--method", "gprune", "--graph_temperature", "0.1", "--keep_ratio", "0.25"]
    made = chosen(*words, "--positions", "renumber")
    assert made == create("gprune", keep_ratio=0.25, temperature=0.1, positions="renumber")
    assert "--graph_temperature 0.1 " in describe(made, Geometry(32, 576))
    with pytest.raises(InputError, match="--retain makes the whole schedule: got it with --graph_temperature"):
        chosen("--method", "gprune", "--retain", "64", "--graph_temperature", "0.1")
    with pytest.raises(InputError, match="--graph_temperature belongs to gprune: got it with method fastv"):
        chosen("--method", "fastv", "--graph_temperature", "0.1")


def test_what_is_written_of_a_method_leaves_positions_out_where_they_are_as_published() -> None:
    made = chosen("--retain", "64")
    assert "positions" not in written_settings(made) and "positions" not in describe(made, Geometry(32, 576))
    kept = chosen("--retain", "64", "--positions", "keep")
    assert written_settings(kept) == written_settings(made) | {"positions": "keep"}
    assert "--positions keep: " in describe(kept, Geometry(32, 576))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ["vispruner", "--visual_token_num", "64", "--important_ratio", "half"],
            "important_ratio must be a number: got",
        ),
        (["vispruner", "--visual_token_num", "64", "--published", "yes"], "published must be true or false: got 'yes'"),
        (["scope", "--num_token", "64", "--combined", "sum"], "combined must be multi or add: got 'sum'"),
        (["scope", "--retain", "64", "--alpha", "2"], "--retain makes the whole schedule: got it with --alpha"),
        (
            ["visionzip", "--retain", "64", "--positions", "keep"],
            "--positions belongs to .* with method visionzip",
        ),
        (["sparsevlm", "--image_token_list", "[9,8]"], "needs one count per listed layer: got 2, expected 3"),
        (["sparsevlm", "--retained_tokens", "100"], "retained_tokens must be one of 192, 128, 96, 64: got 100"),
        (["sparsevlm", "--release", "1.0", "--retained_tokens", "64"], "takes its counts from scale and bias"),
        (["v2drop", "--keep_ratio_list", "[0.5]"], "keep_ratio_list needs one share per listed layer"),
        (["v2drop", "--keep_ratio_list", "[0.5,2,0]"], "each of keep_ratio_list must be a number of at least 0 and at"),
        (["vtw", "--layer", "32"], "layer must stay below the number of LLM layers: got 32, expected at most 31"),
        (["fastv", "--fast_v_agg_layer", "0"], "fast_v_agg_layer must be a whole number of at least 1: got 0"),
        (["dart", "--max_num_trunction", "-1"], "max_num_trunction must be a whole number of at least 0: got -1"),
        (["fastervlm", "--num_token", "64"], "--num_token belongs to scope: got it with method fastervlm"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        chosen("--method", *words)
