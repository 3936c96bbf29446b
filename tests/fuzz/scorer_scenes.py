"""Scenes of the commands that score, convert, merge and report."""

import json
from pathlib import Path

from published import WRITERS, lines
from scene import Scene, answers, module, scene_of, script

from llava.eval.model_vqa_mmbench import read_rows, rounds_of


def pope(folder: Path) -> Scene:
    """Labels, questions and answers of POPE."""
    WRITERS["pope"](folder)
    asked = folder / "pope/llava_pope_test.jsonl"
    given = answers(asked, folder / "a.jsonl", "Yes")
    files = [asked, given, folder / "pope/coco/coco_pope_random.json"]
    flags = ("--annotation-dir", folder / "pope/coco", "--question-file", asked, "--result-file", given)
    return scene_of(files, module("eval_pope"), *flags)


def mme(folder: Path) -> Scene:
    """Truths and answers of MME."""
    WRITERS["mme"](folder)
    release = folder / "MME/MME_Benchmark_release_version"
    given = answers(folder / "MME/llava_mme.jsonl", folder / "a.jsonl", "Yes")
    flags = ("--result-file", given, "--data", release, "--output-dir", folder / "txt")
    return scene_of([given, sorted(release.rglob("*.txt"))[0]], module("eval_mme"), *flags)


def gqa(folder: Path) -> Scene:
    """Questions and predictions of GQA."""
    WRITERS["gqa"](folder)
    asked = folder / "gqa/data/testdev_balanced_questions.json"
    said = folder / "predictions.json"
    said.write_text(json.dumps([{"questionId": key, "prediction": "yes"} for key in json.loads(asked.read_text())]))
    return scene_of([asked, said], module("eval_gqa"), "--questions", asked, "--predictions", said)


def gqa_converter(folder: Path) -> Scene:
    """Answers on their way to GQA's predictions."""
    WRITERS["gqa"](folder)
    given = answers(folder / "gqa/llava_gqa_testdev_balanced.jsonl", folder / "a.jsonl", "Yes.")
    return scene_of([given], script("convert_gqa_for_eval"), "--src", given, "--dst", folder / "p.json")


def science_qa(folder: Path) -> Scene:
    """Problems, splits and answers of ScienceQA."""
    WRITERS["sqa"](folder)
    base = folder / "scienceqa"
    problems, splits = base / "problems.json", base / "pid_splits.json"
    given = folder / "a.jsonl"
    ids = json.loads(splits.read_text())["test"]
    lines(given, [{"question_id": name, "prompt": "<image>\np", "text": "B"} for name in ids])
    flags = ("--base-dir", base, "--result-file", given, "--output-file", folder / "o", "--output-result", folder / "r")
    return scene_of([problems, splits, given], module("eval_science_qa"), *flags)


def textvqa(folder: Path) -> Scene:
    """Annotations and answers of TextVQA."""
    WRITERS["textvqa"](folder)
    truth = folder / "textvqa/TextVQA_0.5.1_val.json"
    given = answers(folder / "textvqa/llava_textvqa_val_v051_ocr.jsonl", folder / "a.jsonl", "dakota")
    return scene_of([truth, given], module("eval_textvqa"), "--annotation-file", truth, "--result-file", given)


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
    return scene_of(files, module("eval_videoqa"), "--dataset", "activitynet", *flags)


def seed(folder: Path) -> Scene:
    """Annotations and answers of SEED-Bench."""
    WRITERS["seed"](folder)
    truth = folder / "seed_bench/SEED-Bench.json"
    given = answers(folder / "seed_bench/llava-seed-bench.jsonl", folder / "a.jsonl", "B")
    return scene_of([truth, given], module("eval_seed"), "--annotation-file", truth, "--result-file", given)


def seed_converter(folder: Path) -> Scene:
    """Answers on their way to SEED-Bench's upload file."""
    scene = seed(folder)
    return scene_of(
        scene.files, script("convert_seed_for_submission"), *scene.arguments, "--result-upload-file", folder / "u.jsonl"
    )


def mmbench(folder: Path) -> Scene:
    """The table and answers of MMBench."""
    WRITERS["mmbench"](folder)
    table = folder / "mmbench/mmbench_dev_20230712.tsv"
    given = folder / "a.jsonl"
    asked = [question.head | question.tail for row in read_rows(str(table)) for question in rounds_of(*row, False, "")]
    lines(given, [record | {"text": "A"} for record in asked])
    return scene_of([table, given], module("eval_mmbench"), "--annotation-file", table, "--result-file", given)


def mmbench_converter(folder: Path) -> Scene:
    """The table and answers of MMBench on their way to a workbook."""
    scene = mmbench(folder)
    flags = ("--result-dir", folder, "--upload-dir", folder / "up", "--experiment", "a")
    table = ("--annotation-file", scene.files[0])
    return scene_of(scene.files, script("convert_mmbench_for_submission"), *table, *flags)


def vizwiz_converter(folder: Path) -> Scene:
    """Questions and answers on their way to VizWiz's upload file."""
    WRITERS["vizwiz"](folder)
    asked = folder / "vizwiz/llava_test.jsonl"
    given = answers(asked, folder / "a.jsonl", "A dog.")
    flags = ("--annotation-file", asked, "--result-file", given, "--result-upload-file", folder / "u.json")
    return scene_of([asked, given], script("convert_vizwiz_for_submission"), *flags)


def vqav2_converter(folder: Path) -> Scene:
    """Questions and answers on their way to VQAv2's upload file."""
    WRITERS["vqav2"](folder)
    base, split = folder / "vqav2", "llava_vqav2_mscoco_test-dev2015"
    asked, whole = base / f"{split}.jsonl", base / "llava_vqav2_mscoco_test2015.jsonl"
    given = answers(asked, base / f"answers/{split}/run/merge.jsonl", "two")
    flags = ("--dir", base, "--ckpt", "run", "--split", split)
    return scene_of([asked, whole, given], script("convert_vqav2_for_submission"), *flags)


def mmvet_converter(folder: Path) -> Scene:
    """Questions and answers on their way to MM-Vet's grader."""
    WRITERS["mmvet"](folder)
    asked = folder / "mm-vet/llava-mm-vet.jsonl"
    given = answers(asked, folder / "a.jsonl", "A dog.")
    flags = ("--src", given, "--dst", folder / "m.json", "--question-file", asked)
    return scene_of([asked, given], script("convert_mmvet_for_eval"), *flags)


def prepare(folder: Path) -> Scene:
    """The question files of all benchmarks."""
    for name in ("pope", "sqa", "mmbench", "vizwiz"):
        WRITERS[name](folder)
    files = [folder / "pope/llava_pope_test.jsonl", folder / "scienceqa/llava_test_CQM-A.json"]
    return scene_of([*files, folder / "mmbench/mmbench_dev_20230712.tsv"], module("prepare"), "--data", folder)


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
    return scene_of(files, module("merge"), "--answers-file", folder / "m.jsonl", *pieces)


def record(folder: Path) -> Scene:
    """A scorer's output and the settings of what it scored."""
    scene = merge(folder)
    said = folder / "scores.txt"
    said.write_text('POPE\n{"benchmark": "pope", "metric": "F1", "score": 86.0}\n')
    flags = ("--scores", said, "--answers-file", folder / "2_0.jsonl", "--output", folder / "r/x.json")
    return scene_of([said, scene.files[1]], module("record"), *flags)


def report(folder: Path) -> Scene:
    """Two scores on disk."""
    for number, name in enumerate(("pope", "gqa")):
        made = {"method": "none", "tokens": 576.0, "model": "m", "settings": {}}
        path = folder / f"results/run/{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"benchmark": name, "metric": "x", "score": 80.0 + number} | made))
    return scene_of([folder / "results/run/pope.json"], module("report"), "--results", folder / "results")
