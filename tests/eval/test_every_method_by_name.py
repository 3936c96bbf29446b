"""Commands know every method without being told of it: a file in `methods/` is enough."""

from pathlib import Path

import pytest
from commands import call

from llava.errors import InputError
from llava.eval import budgets, curve, leaderboard, method_cost, run_llava, visualize
from llava.eval.runs.method_options import method_from
from llava.reduction import Geometry, available, name_of
from llava.reduction.schedule import average_tokens

GEOMETRY = Geometry(layers=32, patches=576)
ADDING = [name for name in available() if name != "none"]


def test_tables_are_of_all_methods() -> None:
    for command in (leaderboard, budgets, method_cost):
        assert set(command.build_parser().parse_args([]).methods) == set(available())
    for command in (leaderboard, budgets, method_cost, curve):
        assert command.build_parser().parse_args(["--methods", *available()]).methods == available()


def test_pictures_compare_all_methods() -> None:
    flags = ["--image", "x", "--question", "y", "--method", "visiondrop", "--retain", "128", "--output", "z"]
    args = visualize.build_parser().parse_args([*flags, "--compare", ",".join(available())])
    shown = [choice.build(GEOMETRY) for choice in visualize.methods_to_show(args)]
    assert [name_of(method) for method in shown] == ["visiondrop", *available()]


@pytest.mark.parametrize("name", ADDING)
def test_one_picture_takes_it_at_a_budget(name: str) -> None:
    flags = ["--model-path", "x", "--image-file", "y", "--query", "z", "--method", name, "--retain", "192"]
    made = method_from(run_llava.build_parser().parse_args(flags)).build(GEOMETRY)
    assert name_of(made) == name and abs(average_tokens(made, GEOMETRY) - 192) <= 0.02 * 192


@pytest.mark.parametrize("command", ["precision", "model_vqa_loader"])
@pytest.mark.parametrize("name", ADDING)
def test_runners_and_precision_take_it(command: str, name: str, capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    """The complaint is about a file that is not there, and about no method."""
    flags = ["--model-path", "x", "--question-file", tmp_path / "no.jsonl", "--method", name, "--retain", 64]
    found = call(command, capsys, *flags)
    assert found.code == 2 and "config.json" in found.err and name not in found.err.replace(str(tmp_path), "")


def test_what_is_no_method_is_refused() -> None:
    args = visualize.build_parser().parse_args(["--image", "x", "--question", "y", "--output", "z", "--compare", "all"])
    with pytest.raises(InputError, match="unknown reduction method 'all'"):
        visualize.methods_to_show(args)
