"""Variants of VisionDrop: what they change, what they hold, and the command."""

import json
from pathlib import Path

import pytest
from commands import call, small_benchmark

from llava.eval.curves.ablations import PARTS, pair, plan_variants
from llava.reduction import Geometry
from llava.reduction.schedule import average_tokens

GEOMETRIES = {"llava": (Geometry(32, 576), 64), "shapes": (Geometry(8, 256), 57), "next": (Geometry(32, 576, 5), 320)}


@pytest.mark.parametrize("part", sorted(PARTS))
@pytest.mark.parametrize("where", sorted(GEOMETRIES))
def test_variants_hold_the_budget_of_the_first(part: str, where: str) -> None:
    geometry, retain = GEOMETRIES[where]
    runs, unreached = plan_variants(part, retain, geometry)
    assert unreached == [] and runs[0].name == "visiondrop" and len(runs) > 1
    for run in runs:
        assert run.tokens == average_tokens(run.reduction, geometry) == pytest.approx(retain, rel=0.021)


def test_each_part_changes_that_part() -> None:
    runs = {part: {run.name: run.reduction for run in plan_variants(part, 64, Geometry(32, 576))[0]} for part in PARTS}
    whole = runs["stages"]["visiondrop"]
    assert runs["stages"]["encoder only"].layers == [] and runs["stages"]["encoder only"].dominant == 56
    assert (
        runs["stages"]["LLM only"].dominant == 0
        and runs["stages"]["LLM only"].tokens_per_stage(Geometry(32, 576))[0] == 576
    )
    bare = runs["contextual"]["no contextual tokens"]
    assert bare.contextual == 0 and {other for _, other in bare.image_token_list} == {0}
    assert [sum(own) for own in bare.image_token_list] == [sum(own) for own in whole.image_token_list]
    assert runs["layers"]["after 1/2"].layers == [16]
    assert runs["share"]["contextual 1/2"].image_token_list[0] == [35, 35]
    assert runs["ranking"]["ranked by text"].reads_question and not whole.reads_question


@pytest.mark.parametrize(("tokens", "share", "expected"), [(8, 0, [8, 0]), (8, 0.01, [7, 1]), (1, 0.5, [1, 0])])
def test_a_pair_has_a_dominant_token(tokens: int, share: float, expected: list[int]) -> None:
    assert pair(tokens, share) == expected


def test_a_budget_that_a_variant_cannot_hold_is_said() -> None:
    runs, unreached = plan_variants("stages", 14, Geometry(8, 256))
    assert "LLM only" not in [run.name for run in runs]
    assert [one.name for one in unreached] == ["LLM only"]
    assert "must come to the budget of the others: got 14, the nearest is" in unreached[0].reason


def test_command_compares_with_the_first(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    output = tmp_path / "out/ablation"
    found = call("ablation", capsys, "ranking", *small_benchmark(tmp_path), "--retain", 64, "--output", output)
    assert found.code == 0
    first, second = json.loads(output.with_suffix(".json").read_text())["variants"]
    assert (first["name"], first["difference"], first["shared"]) == ("visiondrop", [0, 0], True)
    assert (second["name"], second["shared"]) == ("ranked by text", False)
    assert "--ranking text" in output.with_suffix(".md").read_text()


def test_command_refuses_an_unknown_part(capsys: pytest.CaptureFixture) -> None:
    found = call("ablation", capsys, "everything")
    assert found.code == 2 and "invalid choice: 'everything'" in found.err


def test_command_refuses_a_budget_that_no_variant_holds(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    output = tmp_path / "ablation"
    found = call("ablation", capsys, "ranking", *small_benchmark(tmp_path), "--retain", 1, "--output", output)
    assert found.code == 2 and "must leave fewer tokens at each stage: got 1" in found.err
    assert not output.with_suffix(".json").exists()
