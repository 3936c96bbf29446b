"""The method `random` through the commands: its budget, its seed, and a script's run from questions to score."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import TINY, call, loader_flags, questions, records, texts
from conftest import PARITY
from published import lines

ROOT = Path(__file__).parents[3]


def settings_of(path: Path) -> dict:
    """What a run was asked for."""
    return json.loads(Path(f"{path}.settings.json").read_text())


def test_batches_draw_the_lots_of_single_questions(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    questions(tmp_path, 5)
    flags = ["--method", "random", "--retain", 64]
    assert call("model_vqa_loader", capsys, *loader_flags(tmp_path, *flags)).out.startswith("method random: --keep 64")
    call("model_vqa_loader", capsys, *loader_flags(tmp_path, *flags, "--batch-size", 3, answers="b.jsonl"))
    assert texts(tmp_path / "b.jsonl") == texts(tmp_path / "answers/a.jsonl")


def test_seed_is_that_of_sampling_and_of_the_lots(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    questions(tmp_path, 1)
    for flags in (["--retain", 64], ["--keep", 64]):
        name = f"{flags[0]}.jsonl"
        flags = [*flags, "--method", "random", "--seed", 5]
        assert call("model_vqa_loader", capsys, *loader_flags(tmp_path, *flags, answers=name)).code == 0
        assert settings_of(tmp_path / name)["settings"] == {"keep": 64, "seed": 5}
    other = ["--retain", 64, "--method", "random", "--seed", 6]
    refused = call("model_vqa_loader", capsys, *loader_flags(tmp_path, *other, answers=name))
    assert refused.code == 2 and "seed = 5, got 6" in refused.err
    plain = call("model_vqa_loader", capsys, *loader_flags(tmp_path, "--seed", 7, "--retain", 64, answers="c.jsonl"))
    assert plain.code == 0 and "seed" not in settings_of(tmp_path / "c.jsonl")["settings"]
    foreign = call("model_vqa_loader", capsys, *loader_flags(tmp_path, "--keep", 7, "--retain", 64, answers="d.jsonl"))
    assert foreign.code == 2 and "--keep belongs to random" in foreign.err


def test_away_from_the_repository_the_script_asks_for_a_model(tmp_path: Path) -> None:
    script = ROOT / "scripts/v1_5/visiondrop_eval/shapes.sh"
    environment = {name: value for name, value in os.environ.items() if name != "CKPT"}
    done = subprocess.run(["bash", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("error: no CKPT and no playground/shapes/llava-shapes")
    assert "set CKPT" in done.stderr and list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_script_goes_from_questions_to_a_score(tmp_path: Path) -> None:
    """shapes.sh on the tiny checkpoint, which is told that what it says is right."""
    asked = [json.loads(line) for line in questions(tmp_path, 4).read_text().splitlines()]
    images = "../../../tests/parity/images"  # the script knows where the pictures of its benchmark are
    asked = [record | {"image": f"{images}/{record['image']}"} for record in asked]
    lines(tmp_path / "questions.jsonl", asked)
    lines(tmp_path / "answers.jsonl", [record | {"answer": "?"} for record in asked])
    environment = os.environ | {
        **{"CKPT": str(TINY), "DATA": str(tmp_path / "data"), "METHOD": "random", "RETAIN": "64", "SEED": "2"},
        **{"QUESTIONS": str(tmp_path / "questions.jsonl"), "ANSWERS": str(tmp_path / "answers.jsonl")},
        **{"PYTHON": sys.executable, "DEVICE": "cpu", "MAX_NEW_TOKENS": "3", "BATCH_SIZE": "4"},
    }
    script = ["bash", "scripts/v1_5/visiondrop_eval/shapes.sh"]
    done = subprocess.run(script, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    name = f"{TINY.name}_random_64_seed2"
    given = records(tmp_path / f"data/shapes/answers/{name}.jsonl")
    assert [record["question_id"] for record in given] == [record["question_id"] for record in asked]
    kept = json.loads((tmp_path / f"data/results/{name}/shapes.json").read_text())
    assert (kept["benchmark"], kept["score"], kept["samples"], kept["tokens"]) == ("shapes", 0.0, 4, 64.0)
    assert kept["settings"] == {"keep": 64, "seed": 2}
    assert PARITY.name in asked[0]["image"] and "overall      0 of     4    0.00 %" in done.stdout
