"""What is fuzzed: a folder of good files, which of them are damaged in turn, and the command that reads them."""

import importlib
import json
import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from commands import SCRIPTS, TINY
from published import WRITERS, lines

from llava.eval.model_vqa_mmbench import read_rows, rounds_of


@dataclass(frozen=True)
class Scene:
    """Attributes:
    files: those that are damaged, one at a time.
    command: what reads them.
    arguments: its command line.
    """

    files: list[Path]
    command: Callable[[], Any]
    arguments: list[str]


def answers(questions: Path, path: Path, text: str) -> Path:
    """An answers file that says the same to every question."""
    asked = [json.loads(line) for line in questions.read_text().splitlines()]
    lines(path, [{"question_id": q["question_id"], "prompt": q["text"], "text": text} for q in asked])
    return path


def module(name: str) -> Callable[[], Any]:
    """`python -m llava.eval.<name>`."""
    return lambda: importlib.import_module(f"llava.eval.{name}").main()


def script(name: str) -> Callable[[], Any]:
    """`python scripts/<name>.py`."""
    return lambda: runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")


def _scene(files: list[Path], command: Callable[[], Any], *arguments: object) -> Scene:
    return Scene(files, command, [str(argument) for argument in arguments])


def pope(folder: Path) -> Scene:
    """Labels, questions and answers of POPE."""
    WRITERS["pope"](folder)
    asked = folder / "pope/llava_pope_test.jsonl"
    given = answers(asked, folder / "a.jsonl", "Yes")
    files = [asked, given, folder / "pope/coco/coco_pope_random.json"]
    flags = ("--annotation-dir", folder / "pope/coco", "--question-file", asked, "--result-file", given)
    return _scene(files, module("eval_pope"), *flags)


def mme(folder: Path) -> Scene:
    """Truths and answers of MME."""
    WRITERS["mme"](folder)
    release = folder / "MME/MME_Benchmark_release_version"
    given = answers(folder / "MME/llava_mme.jsonl", folder / "a.jsonl", "Yes")
    flags = ("--result-file", given, "--data", release, "--output-dir", folder / "txt")
    return _scene([given, sorted(release.rglob("*.txt"))[0]], module("eval_mme"), *flags)


def gqa(folder: Path) -> Scene:
    """Questions and predictions of GQA."""
    WRITERS["gqa"](folder)
    asked = folder / "gqa/data/testdev_balanced_questions.json"
    said = folder / "predictions.json"
    said.write_text(json.dumps([{"questionId": key, "prediction": "yes"} for key in json.loads(asked.read_text())]))
    return _scene([asked, said], module("eval_gqa"), "--questions", asked, "--predictions", said)


def gqa_converter(folder: Path) -> Scene:
    """Answers on their way to GQA's predictions."""
    WRITERS["gqa"](folder)
    given = answers(folder / "gqa/llava_gqa_testdev_balanced.jsonl", folder / "a.jsonl", "Yes.")
    return _scene([given], script("convert_gqa_for_eval"), "--src", given, "--dst", folder / "p.json")


def science_qa(folder: Path) -> Scene:
    """Problems, splits and answers of ScienceQA."""
    WRITERS["sqa"](folder)
    base = folder / "scienceqa"
    problems, splits = base / "problems.json", base / "pid_splits.json"
    given = folder / "a.jsonl"
    ids = json.loads(splits.read_text())["test"]
    lines(given, [{"question_id": name, "prompt": "<image>\np", "text": "B"} for name in ids])
    flags = ("--base-dir", base, "--result-file", given, "--output-file", folder / "o", "--output-result", folder / "r")
    return _scene([problems, splits, given], module("eval_science_qa"), *flags)


def textvqa(folder: Path) -> Scene:
    """Annotations and answers of TextVQA."""
    WRITERS["textvqa"](folder)
    truth = folder / "textvqa/TextVQA_0.5.1_val.json"
    given = answers(folder / "textvqa/llava_textvqa_val_v051_ocr.jsonl", folder / "a.jsonl", "dakota")
    return _scene([truth, given], module("eval_textvqa"), "--annotation-file", truth, "--result-file", given)


def video_qa(folder: Path) -> Scene:
    """Questions, answers, an answers file and a grading of ActivityNet-QA."""
    WRITERS["activitynet"](folder)
    place = folder / "GPT_Zero_Shot_QA/Activitynet_Zero_Shot_QA"
    given = answers(place / "llava_activitynet_qa.jsonl", folder / "a.jsonl", "two")
    said = [json.loads(line)["question_id"] for line in given.read_text().splitlines()]
    grades = {name: [{"pred": "yes", "score": 4}, {"q": "q", "a": "a", "pred": "two"}] for name in said}
    (folder / "grades.json").write_text(json.dumps(grades))
    files = [place / "test_q.json", place / "test_a.json", given, folder / "grades.json"]
    flags = ("--questions", files[0], "--answers", files[1], "--result-file", given, "--graded", files[3])
    return _scene(files, module("eval_videoqa"), "--dataset", "activitynet", *flags)


def seed(folder: Path) -> Scene:
    """Annotations and answers of SEED-Bench."""
    WRITERS["seed"](folder)
    truth = folder / "seed_bench/SEED-Bench.json"
    given = answers(folder / "seed_bench/llava-seed-bench.jsonl", folder / "a.jsonl", "B")
    return _scene([truth, given], module("eval_seed"), "--annotation-file", truth, "--result-file", given)


def seed_converter(folder: Path) -> Scene:
    """Answers on their way to SEED-Bench's upload file."""
    scene = seed(folder)
    return _scene(
        scene.files, script("convert_seed_for_submission"), *scene.arguments, "--result-upload-file", folder / "u.jsonl"
    )


def mmbench(folder: Path) -> Scene:
    """The table and answers of MMBench."""
    WRITERS["mmbench"](folder)
    table = folder / "mmbench/mmbench_dev_20230712.tsv"
    given = folder / "a.jsonl"
    asked = [question.head | question.tail for row in read_rows(str(table)) for question in rounds_of(*row, False, "")]
    lines(given, [record | {"text": "A"} for record in asked])
    return _scene([table, given], module("eval_mmbench"), "--annotation-file", table, "--result-file", given)


def mmbench_converter(folder: Path) -> Scene:
    """The table and answers of MMBench on their way to a workbook."""
    scene = mmbench(folder)
    flags = ("--result-dir", folder, "--upload-dir", folder / "up", "--experiment", "a")
    table = ("--annotation-file", scene.files[0])
    return _scene(scene.files, script("convert_mmbench_for_submission"), *table, *flags)


def vizwiz_converter(folder: Path) -> Scene:
    """Questions and answers on their way to VizWiz's upload file."""
    WRITERS["vizwiz"](folder)
    asked = folder / "vizwiz/llava_test.jsonl"
    given = answers(asked, folder / "a.jsonl", "A dog.")
    flags = ("--annotation-file", asked, "--result-file", given, "--result-upload-file", folder / "u.json")
    return _scene([asked, given], script("convert_vizwiz_for_submission"), *flags)


def vqav2_converter(folder: Path) -> Scene:
    """Questions and answers on their way to VQAv2's upload file."""
    WRITERS["vqav2"](folder)
    base, split = folder / "vqav2", "llava_vqav2_mscoco_test-dev2015"
    asked, whole = base / f"{split}.jsonl", base / "llava_vqav2_mscoco_test2015.jsonl"
    given = answers(asked, base / f"answers/{split}/run/merge.jsonl", "two")
    flags = ("--dir", base, "--ckpt", "run", "--split", split)
    return _scene([asked, whole, given], script("convert_vqav2_for_submission"), *flags)


def mmvet_converter(folder: Path) -> Scene:
    """Questions and answers on their way to MM-Vet's grader."""
    WRITERS["mmvet"](folder)
    asked = folder / "mm-vet/llava-mm-vet.jsonl"
    given = answers(asked, folder / "a.jsonl", "A dog.")
    flags = ("--src", given, "--dst", folder / "m.json", "--question-file", asked)
    return _scene([asked, given], script("convert_mmvet_for_eval"), *flags)


def prepare(folder: Path) -> Scene:
    """The question files of all benchmarks."""
    for name in ("pope", "sqa", "mmbench", "vizwiz"):
        WRITERS[name](folder)
    files = [folder / "pope/llava_pope_test.jsonl", folder / "scienceqa/llava_test_CQM-A.json"]
    return _scene([*files, folder / "mmbench/mmbench_dev_20230712.tsv"], module("prepare"), "--data", folder)


def loader(folder: Path) -> Scene:
    """A question file, up to where weights would be read."""
    return _runner(folder, "pope", "model_vqa_loader", "pope/llava_pope_test.jsonl", "pope/val2014")


def open_ended(folder: Path) -> Scene:
    """A question file that wants long answers."""
    return _runner(folder, "mmvet", "model_vqa", "mm-vet/llava-mm-vet.jsonl", "mm-vet/images")


def science_runner(folder: Path) -> Scene:
    """ScienceQA's questions."""
    return _runner(folder, "sqa", "model_vqa_science", "scienceqa/llava_test_CQM-A.json", "scienceqa/images/test")


def mmbench_runner(folder: Path) -> Scene:
    """MMBench's table."""
    return _runner(folder, "mmbench", "model_vqa_mmbench", "mmbench/mmbench_dev_20230712.tsv", "")


def finished(folder: Path) -> Scene:
    """The files of a run that was cut off: answers, settings, and answers that wait for their turn."""
    scene = loader(folder)
    asked, path = scene.files[0], folder / "answers.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["command", *scene.arguments])
        with pytest.raises(SystemExit):
            scene.command()
    held = Path(f"{path}.held.jsonl")
    answers(asked, path, "Yes")
    whole = [json.loads(line) for line in path.read_text().splitlines()]
    lines(path, whole[:2])
    lines(held, [{"number": number, "record": whole[number]} for number in (3, 5)])
    return _scene([path, Path(f"{path}.settings.json"), held], scene.command, *scene.arguments)


def _runner(folder: Path, name: str, command: str, asked: str, images: str) -> Scene:
    WRITERS[name](folder)
    flags = ("--model-path", TINY, "--question-file", folder / asked, "--image-folder", folder / images)
    flags += ("--answers-file", folder / "answers.jsonl", "--method", "none")
    return _scene([folder / asked], _before_loading(module(command)), *flags)


def _before_loading(command: Callable[[], Any]) -> Callable[[], Any]:
    """A runner that ends well where it would read weights."""

    def stopped() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("llava.eval.runs.llava_run.load_model", lambda *_, **__: sys.exit(0))
            command()

    return stopped


def merge(folder: Path) -> Scene:
    """A chunk, its settings, and those of another chunk."""
    for number in range(2):
        piece = folder / f"2_{number}.jsonl"
        lines(piece, [{"question_id": number, "prompt": "p", "text": "t"}])
        settings = {
            "method": "none",
            "settings": {},
            "average_tokens": 576,
            "model_path": "m",
            "answers": 1,
            "num_chunks": 2,
        }
        Path(f"{piece}.settings.json").write_text(json.dumps(settings | {"chunk_idx": number}))
    pieces = [folder / "2_0.jsonl", folder / "2_1.jsonl"]
    files = [pieces[0], Path(f"{pieces[0]}.settings.json"), Path(f"{pieces[1]}.settings.json")]
    return _scene(files, module("merge"), "--answers-file", folder / "m.jsonl", *pieces)


def record(folder: Path) -> Scene:
    """A scorer's output and the settings of what it scored."""
    scene = merge(folder)
    said = folder / "scores.txt"
    said.write_text('POPE\n{"benchmark": "pope", "metric": "F1", "score": 86.0}\n')
    flags = ("--scores", said, "--answers-file", folder / "2_0.jsonl", "--output", folder / "r/x.json")
    return _scene([said, scene.files[1]], module("record"), *flags)


def report(folder: Path) -> Scene:
    """Two scores on disk."""
    for number, name in enumerate(("pope", "gqa")):
        made = {"method": "none", "tokens": 576.0, "model": "m", "settings": {}}
        path = folder / f"results/run/{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"benchmark": name, "metric": "x", "score": 80.0 + number} | made))
    return _scene([folder / "results/run/pope.json"], module("report"), "--results", folder / "results")


SCENES = {
    scene.__name__: scene
    for scene in (
        *(
            pope,
            mme,
            gqa,
            gqa_converter,
            science_qa,
            textvqa,
            video_qa,
            seed,
            seed_converter,
            mmbench,
            mmbench_converter,
        ),
        *(video_qa, vizwiz_converter, vqav2_converter, mmvet_converter, prepare, merge, record, report),
        *(loader, open_ended, science_runner, mmbench_runner, finished),
    )
}
