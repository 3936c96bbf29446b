"""Command lines as PyramidDrop, VisionDrop and VisionZip publish them choose the method they mean."""

import argparse
import runpy
from pathlib import Path

import pytest
from commands import TINY, call, loader_flags, questions, texts

from llava.errors import InputError
from llava.eval.runs.command import Parser
from llava.eval.runs.method_options import add_method_options, method_from
from llava.reduction import create

SCHEDULE = ["--layer_list", "[8,16,24]", "--image_token_list", "[[30,5],[22,4],[16,3]]"]
VISIONDROP = ["--dominant", "42", "--contextual", "6", *SCHEDULE]
PAPER = create(
    "visiondrop",
    dominant=42,
    contextual=6,
    layer_list=[8, 16, 24],
    image_token_list=[[30, 5], [22, 4], [16, 3]],
)
PYRAMID = create("pyramiddrop")
HALVES = create("pyramiddrop", layer_list=[4], image_token_ratio_list=[0.5])


def parsed(*flags: str) -> argparse.Namespace:
    """The method's flags of a command line."""
    parser = Parser()
    add_method_options(parser)
    return parser.parse_args(flags)


@pytest.mark.parametrize(
    ("flags", "method"),
    [
        (["--layer_list", "[8,16,24]", "--image_token_ratio_list", "[0.5,0.25,0.125]"], PYRAMID),
        (["--layer_list", "[8, 16, 24]", "--image_token_ratio_list", " [0.5, 0.25, 0.125] ", "--pdrop_infer"], PYRAMID),
        (["--layer_list", "[8,16,24]", "--image_token_ratio_list", "[1.0,0.5,0.25,0.125]", "--pdrop_infer"], PYRAMID),
        (["--image_token_ratio_list", "[1, 0.5,0.25,0.125]"], PYRAMID),
        (["--image_token_ratio_list", "[0.5,0.25,0.125]"], PYRAMID),
        (["--pdrop_infer"], PYRAMID),
        (["--pdrop_infer", "--layer_list", "[4]", "--image_token_ratio_list", "[0.5]"], HALVES),
        (["--method", "pyramiddrop", "--pdrop_infer"], PYRAMID),
        (VISIONDROP, PAPER),
        ([*VISIONDROP, "--visiondrop_infer"], PAPER),
        ([*VISIONDROP, "--visiondrop_infer", "--method", "visiondrop"], PAPER),
        (["--dominant", "54", "--contextual", "10"], create("visionzip", dominant=54, contextual=10)),
        ([], create("none")),
        (["--method", "none"], create("none")),
    ],
)
def test_flags_choose_the_method(flags: list[str], method: object) -> None:
    chosen = method_from(parsed(*flags))
    assert chosen.method == method and type(chosen.method) is type(method)


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (["--retain", "64"], "visiondrop"),
        (["--retain", "64", "--visiondrop_infer"], "visiondrop"),
        (["--retain", "192", "--pdrop_infer"], "pyramiddrop"),
    ],
)
def test_a_budget_goes_with_a_switch(flags: list[str], name: str) -> None:
    chosen = method_from(parsed(*flags))
    assert (chosen.name, chosen.method, chosen.retain) == (name, None, int(flags[1]))


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (
            ["--pdrop_infer", "--visiondrop_infer"],
            "got --pdrop_infer (pyramiddrop) and --visiondrop_infer (visiondrop)",
        ),
        (["--method", "visionzip", "--pdrop_infer"], "got --method (visionzip) and --pdrop_infer (pyramiddrop)"),
        (["--method", "none", "--visiondrop_infer"], "got --method (none) and --visiondrop_infer (visiondrop)"),
        (
            ["--method", "pyramiddrop", "--pdrop_infer", "--visiondrop_infer"],
            "got --method (pyramiddrop) and --visiondrop_infer (visiondrop)",
        ),
        (
            [*VISIONDROP, "--image_token_ratio_list", "[0.5,0.25,0.125]"],
            "--image_token_ratio_list belongs to pyramiddrop: got it with method visiondrop (--image_token_list)",
        ),
        ([*VISIONDROP, "--pdrop_infer"], "visiondrop or vscan: got it with method pyramiddrop"),
        (
            ["--dominant", "54", "--contextual", "10", "--image_token_ratio_list", "[0.5]"],
            "--image_token_ratio_list belongs to pyramiddrop: got it with method visiondrop",
        ),
        (["--visiondrop_infer"], "method 'visiondrop' needs dominant, contextual, layer_list, image_token_list"),
        (["--visiondrop_infer", "--dominant", "54", "--contextual", "10"], "needs layer_list, image_token_list"),
        (["--layer_list", "[8,16,24]"], "method 'visiondrop' needs dominant, contextual, image_token_list"),
        (["--dominant", "54"], "method 'visionzip' needs contextual"),
        (["--pdrop_infer", "--layer_list", "[8,16]"], "needs one ratio per listed layer: got 3, expected 2"),
        (["--pdrop_infer", "--image_token_ratio_list", "[1.0,0.5]"], "must be a list of shares above 0 and below 1"),
        (["--image_token_ratio_list", "[true,0.5,0.25,0.125]"], "must be a list of shares above 0 and below 1"),
        (["--image_token_ratio_list", "0.5"], "image_token_ratio_list must be a list in square brackets: got '0.5'"),
        (["--image_token_ratio_list", "[0.5]", "--layer_list", "[[8]]"], "layer_list must be a list of whole numbers"),
    ],
)
def test_contradictions_are_one_line(flags: list[str], complaint: str) -> None:
    with pytest.raises(InputError) as refused:
        method_from(parsed(*flags))
    assert complaint in str(refused.value) and "\n" not in str(refused.value)


def test_a_notebook_gives_lists_as_lists() -> None:
    args = parsed("--pdrop_infer")
    args.layer_list, args.image_token_ratio_list = [8, 16, 24], [1.0, 0.5, 0.25, 0.125]
    assert method_from(args).method == PYRAMID
    args.layer_list = 8
    with pytest.raises(InputError, match="layer_list must be a list of whole numbers"):
        method_from(args)


def test_pyramiddrops_script_answers_as_the_method(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Its flags, down to the quotes that the shell takes away; the tiny model has 12 layers."""
    questions(tmp_path)
    published = ["--layer_list", "[3,6,9]", "--image_token_ratio_list", "[1.0,0.5,0.25,0.125]", "--pdrop_infer"]
    ours = ["--method", "pyramiddrop", "--layer_list", "[3,6,9]"]
    done = call("model_vqa_loader", capsys, *loader_flags(tmp_path, *published, answers="published.jsonl"))
    assert done.code == 0, done.err
    assert call("model_vqa_loader", capsys, *loader_flags(tmp_path, *ours, answers="ours.jsonl")).code == 0
    assert texts(tmp_path / "published.jsonl") == texts(tmp_path / "ours.jsonl")


@pytest.mark.parametrize("runner", ["model_vqa", "model_vqa_loader", "model_vqa_mmbench", "model_vqa_science"])
def test_visiondrops_scripts_find_their_runners(
    runner: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("sys.argv", [runner, "--model-path", str(TINY), "--pdrop_infer", "--visiondrop_infer"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module(f"llava.eval_visiondrop.{runner}", run_name="__main__")
    assert stopped.value.code == 2 and capsys.readouterr().err.startswith("error: ")
