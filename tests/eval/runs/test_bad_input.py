"""What a user can get wrong: one line on stderr, exit code 2, before weights are read where it can be known before."""

import json
import re
import shutil
from pathlib import Path

import pytest
from commands import TINY, call, loader_flags, questions, records
from conftest import PARITY

from llava.eval.runs import llava_run, runner

FOUR = ["--dominant", 42, "--contextual", 6, "--layer_list", "[3,6,9]", "--image_token_list", "[[30,5],[22,4],[16,3]]"]


@pytest.fixture
def no_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading weights would be a failure."""
    monkeypatch.setattr(llava_run, "load_model", lambda *_, **__: pytest.fail("weights were read"))


def refused(outcome: object, complaint: str) -> None:
    """One line that says so, and nothing else."""
    assert outcome.code == 2
    assert outcome.err.startswith("error: ") and outcome.err.count("\n") == 0
    assert complaint in outcome.err, outcome.err


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--layer_list", "8,16"], "layer_list must be a list in square brackets: got '8,16'"),
        (["--layer_list", "[3,6,x]"], "layer_list must be a list in square brackets: got '[3,6,x]'"),
        (["--image_token_list", "__import__('os')"], "image_token_list must be a list in square brackets"),
        (["--layer_list", "[3,9,6]"], "layer_list must rise: got [3, 9, 6]"),
        (["--layer_list", "[3,6]"], "one [dominant, contextual] pair per listed layer: got 3 pairs, expected 2"),
        (["--layer_list", "[3,6,12]"], "layer_list must stay below the number of LLM layers: got 12, expected at most"),
        (["--dominant", -1], "dominant must be a whole number of at least 1: got -1"),
        (["--contextual", -1], "contextual must be a whole number of at least 0: got -1"),
        (["--dominant", "many"], "argument --dominant: must be a whole number: got 'many'"),
        (
            ["--dominant", "9" * 400],
            "argument --dominant: must be a whole number from -92233",
        ),
        (["--dominant", 577], "must not exceed what the encoder has: got 577 + 6, expected at most 577"),
        (["--image_token_list", "[[30,5],[30,5],[16,3]]"], "must keep fewer tokens at each stage: got 35 after 35"),
        (["--image_token_list", "[[40,8],[22,4],[16,3]]"], "must keep fewer tokens at each stage: got 48 after 48"),
        (["--method", "visionzip"], "visiondrop or vscan: got it with method visionzip"),
        (["--image_token_ratio_list", "[.5]"], "image_token_ratio_list must be a list in square brackets"),
        (
            ["--image_token_ratio_list", "[0.5]"],
            "--image_token_ratio_list belongs to pyramiddrop: got it with method v",
        ),
        (["--retain", 32], "--retain makes the whole schedule: got it with --"),
        (["--method", "fastest"], "invalid choice: 'fastest'"),
        (
            ["--conv-mode", "vicuna"],
            "--conv-mode must name a conversation template: got 'vicuna', choose one of",
        ),
        (["--num-chunks", 3, "--chunk-idx", 3], "--chunk-idx must lie below --num-chunks: got 3 of 3"),
        (["--num-chunks", 0], "--num-chunks: must be a whole number of at least 1: got '0'"),
        (["--chunk-idx", -1], "--chunk-idx: must be a whole number of at least 0: got '-1'"),
        (["--batch-size", 0], "--batch-size: must be a whole number of at least 1: got '0'"),
        (["--batch-size", "١"], "--batch-size: must be a whole number of at least 1: got '١'"),
        (["--temperature", -0.1], "--temperature: must be a number from 0 to 1e+08: got '-0.1'"),
        (["--temperature", "nan"], "--temperature: must be a number from 0 to 1e+08: got 'nan'"),
        (["--temperature", "inf"], "--temperature: must be a number from 0 to 1e+08: got 'inf'"),
        (
            ["--temperature", "1e-300"],
            "--temperature must be 0, which decodes greedily, or from 1e-08 to 1e+08: got 1e",
        ),
        (["--top_p", 1.5], "--top_p: must be a number from 0 to 1: got '1.5'"),
        (["--top_p", "nan"], "--top_p: must be a number from 0 to 1: got 'nan'"),
        (["--top_p", 0], "--top_p must be above 0 and at most 1: got 0.0"),
        (["--num_beams", 0], "--num_beams: must be a whole number of at least 1: got '0'"),
        (["--num_beams", 10**18], "--num_beams: must be a whole number from 1 to 1024: got '1000"),
        (
            ["--max_new_tokens", 0],
            "--max_new_tokens: must be a whole number of at least 1",
        ),
        (
            ["--seed", 10**30],
            "--seed: must be a whole number from -4611686018427387904 to 4",
        ),
        (["--num-workers", -1], "--num-workers: must be a whole number of at least 0: got '-1'"),
        (["--device-share", 0], "--device-share: must be a whole number of at least 1: got '0'"),
        (["--show", "1" + 30 * "0"], "--show: must be a whole number from 0 to 9223372036854775807: got '1000"),
        (
            ["--retain", "9" * 400],
            "--retain: must be a whole number from -92233",
        ),
        (["--conv-mode", "a\udcff"], "--conv-mode must name a conversation template: got 'a\\udcff'"),
        (["--device", "cuda"], "--device must be there: got 'cuda', which torch does not find"),
        (["--device", "tpu"], "invalid choice: 'tpu'"),
        (["--question-file", "/nowhere/q.jsonl"], "a question file must be readable: '/nowhere/q.jsonl' is not"),
        (["--image-folder", "/nowhere"], "a question's image must exist: '/nowhere/0.png' does not"),
        (["--model-path", "/nowhere/llava"], "a checkpoint folder must exist: '/nowhere/llava' does not"),
        (["--model-path", "no-such-checkpoint"], "a checkpoint needs a readable config.json: got 'no-such-checkpoint'"),
        (["--unknown", 1], "unrecognized arguments: --unknown 1"),
    ],
)
def test_flags(tmp_path: Path, capsys: pytest.CaptureFixture, no_loading: None, flags: list, complaint: str) -> None:
    questions(tmp_path)
    refused(call("model_vqa_loader", capsys, *loader_flags(tmp_path, *FOUR, *flags)), complaint)
    assert not (tmp_path / "answers/a.jsonl").exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "a question file must hold lines"),
        ('{"question_id": 1, "image": "0.png", "text": "a"}\n{"question_id": 2, "ima\n', "line 2 is none"),
        ('{"question_id": 1, "image": "0.png"}\n', "line 1 lacks text; add it"),
        ("[1]\n", "line 1 is a JSON array; write every element on a line of its own"),
        ('\n{"question_id": 1, "image": "0.png", "text": "a"}\n\n3\n', "line 4 is a number"),
        ('{"question_id": 1, "image": 3, "text": "a"}\n', "image in a question file is text"),
        ('{"question_id": 1, "image": "0.png", "text": null}\n', "line 1 has None; mend it"),
        ('{"question_id": 1.0, "image": "0.png", "text": "a"}\n', "whole number: .* line 1 has 1.0; mend it"),
        (
            '{"question_id": null, "image": "0.png", "text": "a"}\n',
            "whole number: .* line 1 has None; mend it",
        ),
        ('{"question_id": [1], "image": "0.png", "text": "a"}\n', "whole number: .* line 1 has .1.; mend it"),
        (
            '{"question_id": true, "image": "0.png", "text": "a"}\n',
            "whole number: .* line 1 has True; mend it",
        ),
        ('{"question_id": NaN, "image": "0.png", "text": "a"}\n', "line 1 is none .NaN is no number in JSON"),
        ('{"question_id": 1, "image": "0.png", "text": "a \\ud83d"}\n', "line 1 has half of a surrogate pair"),
        ('{"question_id": 41, "image": "0.png", "text": "a <image> b"}\n', "line 1 .question_id 41. does; take"),
        (
            '{"question_id": "x", "image": "0.png", "text": "<image>\\na"}\n',
            "line 1 .question_id 'x'. does; take",
        ),
        ('{"question_id": 1, "image": "a\\u0000b", "text": "a"}\n', "must exist: .*b' does not .*line 1"),
        ('{"question_id": 1, "image": "' + "a" * 300 + '", "text": "a"}\n', "must exist: .* does not .*line 1"),
        ('{"question_id": 1, "image": "", "text": "a"}\n', "must exist: .* does not .*line 1"),
    ],
)
def test_question_files(
    tmp_path: Path, capsys: pytest.CaptureFixture, no_loading: None, content: str, complaint: str
) -> None:
    (tmp_path / "questions.jsonl").write_text(content)
    outcome = call("model_vqa_loader", capsys, *loader_flags(tmp_path))
    refused(outcome, "")
    assert re.search(complaint, outcome.err), outcome.err
    assert not (tmp_path / "answers/a.jsonl").exists()


def test_answers_do_not_go_into_the_question_file(
    tmp_path: Path, capsys: pytest.CaptureFixture, no_loading: None
) -> None:
    before = questions(tmp_path).read_bytes()
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "questions.jsonl")
    for name in ("questions.jsonl", "link.jsonl"):
        outcome = call("model_vqa_loader", capsys, *loader_flags(tmp_path, "--overwrite", answers=name))
        refused(outcome, f"answers go to a file of their own: '{tmp_path}/{name}' is the question file")
    assert (tmp_path / "questions.jsonl").read_bytes() == before


def test_binary_question_file(tmp_path: Path, capsys: pytest.CaptureFixture, no_loading: None) -> None:
    shutil.copy(PARITY / "images/0.png", tmp_path / "questions.jsonl")
    refused(call("model_vqa_loader", capsys, *loader_flags(tmp_path)), "a question file must be UTF-8 text")


def test_checkpoint_without_its_tower(tmp_path: Path, capsys: pytest.CaptureFixture, no_loading: None) -> None:
    questions(tmp_path)
    shutil.copytree(TINY, tmp_path / "llava")
    shutil.rmtree(tmp_path / "llava/vision_tower")
    outcome = call("model_vqa_loader", capsys, *loader_flags(tmp_path, model=tmp_path / "llava"))
    refused(outcome, "the checkpoint's vision tower must be reachable: got mm_vision_tower 'vision_tower'")


def test_a_file_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    questions(tmp_path)
    (tmp_path / "answers").write_text("a file where a folder should be")
    outcome = call("model_vqa_loader", capsys, *loader_flags(tmp_path))
    assert outcome.code == 2 and outcome.err.count("\n") == 0 and str(tmp_path / "answers") in outcome.err


def test_interrupted_with_ctrl_c(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions(tmp_path)
    seen = []

    def two_then_stop(*arguments: object) -> dict:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(1)
        return record(*arguments)

    record = runner._record
    monkeypatch.setattr(runner, "_record", two_then_stop)
    outcome = call("model_vqa_loader", capsys, *loader_flags(tmp_path))
    assert outcome.code == 130 and outcome.err == "error: interrupted; what was written so far is kept"
    assert len(records(tmp_path / "answers/a.jsonl")) == 2


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "a ScienceQA question file must be JSON"),
        ("{}", "must be a JSON array with questions"),
        ("[]", "must be a JSON array with questions"),
        (json.dumps([{"id": "1"}]), "record 1 lacks them"),
        (json.dumps([{"id": "1", "conversations": [{"value": 3}]}]), "record 1 has others"),
        (json.dumps([{"id": 1, "conversations": [{"value": "a"}]}]), "record 1 has others"),
        (json.dumps([{"id": "1", "conversations": [{"value": "a"}]}] * 2), "record 2 has '1' again; remove it"),
        (json.dumps([{"id": "1", "conversations": [{"value": "a"}], "image": "gone.png"}]), "gone.png' does not"),
    ],
)
def test_science_files(
    tmp_path: Path, capsys: pytest.CaptureFixture, no_loading: None, content: str, complaint: str
) -> None:
    (tmp_path / "questions.jsonl").write_text(content)
    refused(call("model_vqa_science", capsys, *loader_flags(tmp_path)), complaint)


def test_a_question_that_comes_twice_is_said_and_answered_twice(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = questions(tmp_path, 3)
    lines = file.read_text().splitlines()
    same_id = lines[0].replace("What color", "What shape")
    file.write_text("\n".join([*lines, same_id, lines[1]]) + "\n")
    outcome = call("model_vqa_loader", capsys, *loader_flags(tmp_path))
    assert outcome.code == 0 and len(records(tmp_path / "answers/a.jsonl")) == 5
    assert outcome.err == f"WARNING: 1 questions come twice, the first: {file} line 5 is that of {file} line 2"
