"""The real lmms-eval over a LLaVA of this package: the same answers as this package's own runner."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lmms_fixtures import ASKED, ask, questions_fixture, tasks_fixture  # noqa: F401
from lmms_runs import MODEL, SHAPES, lmms_eval, python
from PIL import Image

from llava.errors import InputError

METHODS = {"none": {}, "visiondrop": {"retain": 28}, "visionzip": {"retain": 28}}
GREEDY = {"max_new_tokens": 8, "temperature": 0}


def words(method: str) -> str:
    chosen = [f"{name}={value}" for name, value in {"method": method, **METHODS[method]}.items()]
    return ",".join([f"pretrained={MODEL}", *chosen])


@pytest.fixture(scope="session")
def runner(first_questions: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Answers of this package's own runner under a method, by the number of the question."""
    known: dict[str, dict[int, str]] = {}

    def answers(method: str) -> dict[int, str]:
        if method not in known:
            path = tmp_path_factory.mktemp("answers") / "answers.jsonl"
            flags = ["--method", method] + [f"--{name}={value}" for name, value in METHODS[method].items()]
            asked = ["--model-path", MODEL, "--question-file", first_questions, "--image-folder", SHAPES / "images"]
            greedy = ["--conv-mode", "vicuna_v1", "--temperature", "0", "--max_new_tokens", "8"]
            python("-m", "llava.eval.model_vqa_loader", *asked, *greedy, *flags, "--answers-file", path)
            records = [json.loads(line) for line in path.read_text().splitlines()]
            known[method] = {number: record["text"] for number, record in enumerate(records)}
        return known[method]

    return answers


@pytest.mark.parametrize(("method", "batch"), [("none", 1), ("visiondrop", 12), ("visionzip", 7)])
def test_answers_are_the_runners(runner: Any, tasks: Path, tmp_path: Path, method: str, batch: int) -> None:
    run = lmms_eval("visiondrop", words(method), tasks, tmp_path, "--limit", ASKED, "--batch_size", batch)
    assert len(run.answers) == ASKED and run.answers == runner(method)
    assert f"{method}:" in run.said


def test_lmms_evals_own_llava(runner: Any, tasks: Path, tmp_path: Path) -> None:
    """Its adapter, as it is, on this package in the place of LLaVA's."""
    own = f"pretrained={MODEL},device_map=auto"
    run = lmms_eval("llava", own, tasks, tmp_path, "--device", "cpu", "--limit", ASKED, "--batch_size", 4)
    assert run.answers == runner("none")


def test_a_task_of_likelihoods(tasks: Path, tmp_path: Path) -> None:
    own = f"pretrained={MODEL},method=visiondrop,retain=11%"
    run = lmms_eval("visiondrop", own, tasks, tmp_path, "--limit", 24, "--batch_size", 8, task="shapes_likelihood")
    assert run.scores["acc,none"] >= 0.75


@pytest.fixture(scope="module")
def model() -> Any:
    """lmms-eval's object, made as its command line makes it."""
    from lmms_eval.models import get_model

    return get_model("visiondrop").create_from_arg_string(words("visiondrop"), {"batch_size": 4, "device": "cpu"})


def pictures(*numbers: int) -> list[Image.Image]:
    return [Image.open(SHAPES / "images" / f"{number:05}.png") for number in numbers]


def test_a_picture_is_encoded_once_whatever_stands_between(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    encode = model.model.encode_prefixes
    monkeypatch.setattr(model.model, "encode_prefixes", lambda ids, *a: made.append(len(ids)) or encode(ids, *a))
    texts = [("Is there a purple ring?", 0), ("Is there a red square?", 1), ("How many rings are there?", 0)]
    answers = ask(model, [(text, pictures(number)) for text, number in texts] * 3, GREEDY)
    assert sum(made) == 2 and len(answers) == 9 and answers[:3] == answers[3:6] == answers[6:]


def test_questions_with_no_picture_or_two_are_asked_too(model: Any) -> None:
    asked = [("Is there a red square?", []), ("Is it red?", pictures(0)), ("Are they the same?", pictures(0, 1))]
    assert ask(model, asked, GREEDY) == [ask(model, [own], GREEDY)[0] for own in asked]


def test_generation_arguments_of_a_task(model: Any) -> None:
    """Drawing follows the seed that lmms-eval sets; what lmms-eval's own model passes over is passed over."""
    asked, drawn = [("What shape is the purple one?", pictures(0))] * 2, []
    for _ in range(2):
        torch.manual_seed(1234)
        drawn.append(ask(model, asked, {"temperature": 5.0, "top_p": 1.0, "max_new_tokens": 6}))
    assert drawn[0] == drawn[1] and drawn[0] != ask(model, asked, GREEDY)
    assert len(set(ask(model, asked, {"max_new_tokens": 1, "num_beams": 2, "until": ["\n\n"]}))) == 1


def test_likelihoods_can_be_unpacked(model: Any) -> None:
    (loss, own), (other, _) = ask(model, [("Is it red?", pictures(0))] * 2, "no", "loglikelihood")
    assert loss == other > 0 and isinstance(own, bool)


def test_an_unknown_word_is_named_before_anything_is_loaded() -> None:
    from lmms_eval.models import get_model

    with pytest.raises(InputError, match="got 'retian' with method visiondrop"):
        get_model("visiondrop")(pretrained="nowhere", retian=32)
