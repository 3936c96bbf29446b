"""Flags of settings that are shares, words or switches reach the method, or are refused in one line."""

import pytest

from llava.errors import InputError
from llava.eval.runs.command import Parser
from llava.eval.runs.options import add_method_options, method_from
from llava.reduction import Geometry, create


def chosen(*words: str) -> object:
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
        (["fastervlm", "--num_token", "64"], "--num_token belongs to scope: got it with method fastervlm"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        chosen("--method", *words)
