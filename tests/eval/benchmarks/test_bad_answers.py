"""Every scorer and converter on answers files that are not what they should be: a clear line, or a counted warning."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import published
import pytest
from commands import Outcome, call, call_script

from llava.eval.benchmarks.mmbench import options_of, read_table

NUMBER = re.compile(r'"question_id": "(\d+)",')
Finish = Callable[[Path, Path, pytest.CaptureFixture], Outcome]
TABLE = "mmbench/mmbench_dev_20230712.tsv"
SPLIT = "llava_vqav2_mscoco_test-dev2015"


def answers_to(name: str, data: Path) -> list[dict]:
    """An answer to every question of a benchmark's question file, in the runner's form."""
    if name == "mmbench":
        rows = read_table(str(data / TABLE)).to_dict("records")
        options = [options_of(row) for row in rows]
        heads = [{"question_id": row["index"], "round_id": 0, "prompt": row["question"]} for row in rows]
        tails = [{"options": shown, "option_char": list("ABCD")[: len(shown)]} for shown in options]
        return [head | {"text": "B"} | tail for head, tail in zip(heads, tails)]
    files = {
        "gqa": "gqa/llava_gqa_testdev_balanced.jsonl",
        "mme": "MME/llava_mme.jsonl",
        "pope": "pope/llava_pope_test.jsonl",
        "textvqa": "textvqa/llava_textvqa_val_v051_ocr.jsonl",
        "vizwiz": "vizwiz/llava_test.jsonl",
        "vqav2": f"vqav2/{SPLIT}.jsonl",
        "seed": "seed_bench/llava-seed-bench.jsonl",
        "mmvet": "mm-vet/llava-mm-vet.jsonl",
    }
    if name == "sqa":
        asked = json.loads((data / "scienceqa/llava_test_CQM-A.json").read_text())
        return [{"question_id": one["id"], "prompt": one["conversations"][0]["value"], "text": "B"} for one in asked]
    asked = [json.loads(line) for line in (data / files[name]).read_text().splitlines()]
    return [{"question_id": one["question_id"], "prompt": one["text"], "text": "Yes"} for one in asked]


def gqa(data: Path, file: Path, capsys: pytest.CaptureFixture) -> Outcome:
    """Convert, then score."""
    predictions = file.with_name("p.json")
    done = call_script("convert_gqa_for_eval", capsys, "--src", file, "--dst", predictions)
    questions = data / "gqa/data/testdev_balanced_questions.json"
    scored = ["--questions", questions, "--predictions", predictions]
    return done if done.code else call("eval_gqa", capsys, *scored)


def vqav2(data: Path, file: Path, capsys: pytest.CaptureFixture) -> Outcome:
    """Convert; the converter finds its answers itself."""
    merged = data / f"vqav2/answers/{SPLIT}/run/merge.jsonl"
    merged.parent.mkdir(parents=True)
    if file.exists():
        file.rename(merged)
    flags = ["--dir", data / "vqav2", "--split", SPLIT, "--ckpt", "run"]
    return call_script("convert_vqav2_for_submission", capsys, *flags)


def mmbench_upload(data: Path, file: Path, capsys: pytest.CaptureFixture) -> Outcome:
    """Convert."""
    flags = ["--annotation-file", data / TABLE, "--result-dir", file.parent, "--upload-dir", data, "--experiment"]
    return call_script("convert_mmbench_for_submission", capsys, *flags, file.stem)


def command(run: Callable, name: str, *flags: str, answers: str = "--result-file") -> Finish:
    """A command that takes the answers file by a flag; `{}` in its other flags is the data folder."""
    return lambda data, file, capsys: run(name, capsys, *(flag.format(data) for flag in flags), answers, file)


POPE = ("--annotation-dir", "{}/pope/coco", "--question-file", "{}/pope/llava_pope_test.jsonl")
MME = ("--data", "{}/MME/MME_Benchmark_release_version", "--output-dir", "{}/out")
VIZWIZ = ("--annotation-file", "{}/vizwiz/llava_test.jsonl", "--result-upload-file", "{}/up.json")
SEED = ("--annotation-file", "{}/seed_bench/SEED-Bench.json")
MMVET = ("--dst", "{}/out.json", "--question-file", "{}/mm-vet/llava-mm-vet.jsonl")
FINISHES: dict[str, tuple[str, Finish]] = {
    "gqa": ("gqa", gqa),
    "mmbench": ("mmbench", command(call, "eval_mmbench", "--annotation-file", "{}/" + TABLE)),
    "mmbench upload": ("mmbench", mmbench_upload),
    "mme": ("mme", command(call, "eval_mme", *MME)),
    "pope": ("pope", command(call, "eval_pope", *POPE)),
    "sqa": ("sqa", command(call, "eval_science_qa", "--base-dir", "{}/scienceqa")),
    "textvqa": ("textvqa", command(call, "eval_textvqa", "--annotation-file", "{}/textvqa/TextVQA_0.5.1_val.json")),
    "vizwiz upload": ("vizwiz", command(call_script, "convert_vizwiz_for_submission", *VIZWIZ)),
    "vqav2 upload": ("vqav2", vqav2),
    "seed": ("seed", command(call, "eval_seed", *SEED)),
    "seed upload": (
        "seed",
        command(call_script, "convert_seed_for_submission", *SEED, "--result-upload-file", "{}/up.jsonl"),
    ),
    "mmvet": ("mmvet", command(call_script, "convert_mmvet_for_eval", *MMVET, answers="--src")),
}

# What LLaVA's converters put up with is counted or named; everything else is refused.
COUNTED = {
    ("mmbench upload", "last torn"): "error_line: 1",
    ("vqav2 upload", "last torn"): "error_line: 1",
    ("vizwiz upload", "last torn"): "error_line: 1",
    ("mmbench upload", "twice"): "several answers, the last one counts: 241",
    ("vizwiz upload", "twice"): "several answers, the last one counts: 0",
    ("vqav2 upload", "twice"): "several answers, the last one counts: 262144000",
    ("mmvet", "twice"): "several answers, the last one counts: 0",
    ("seed", "missing"): "questions about videos have no answer, all of them, and are left out: 'v0'",
    ("seed upload", "missing"): "questions about videos have no answer, all of them, and are left out: 'v0'",
}
SPOILS: dict[str, Callable[[list[str]], list[str]]] = {
    "right": lambda lines: lines,
    "empty": lambda lines: [],
    "torn": lambda lines: [lines[0], lines[1][:25], *lines[2:]],
    "last torn": lambda lines: [*lines, lines[0][:25]],
    "commas": lambda lines: [line + "," for line in lines],
    "array": lambda lines: ["[", ",\n".join(lines), "]"],
    "surrogate": lambda lines: [lines[0].replace('"text": "', '"text": "\\ud83d'), *lines[1:]],
    "deep": lambda lines: [*lines, "[" * 100_000],
    "long number": lambda lines: [*lines, '{"question_id": ' + "9" * 5000 + ', "prompt": "", "text": "a"}'],
    "number for text": lambda lines: [NUMBER.sub(r'"question_id": \1,', line) for line in lines],
    "text for number": lambda lines: [
        re.sub(r'"question_id": (\d+),', r'"question_id": "\1",', line) for line in lines
    ],
    "byte order mark": lambda lines: ["\ufeff" + lines[0], "", *lines[1:], " "],
    "zip": lambda lines: ["PK\x03\x04", *lines],
    "twice": lambda lines: [*lines, lines[0]],
    "missing": lambda lines: lines[:-1],
    "strange": lambda lines: ['{"question_id": "strange/one.png", "prompt": "Is it?\\nAnswer.", "text": "No"}', *lines],
    "no text": lambda lines: [lines[0].replace('"text"', '"answer"'), *lines[1:]],
}


HARMLESS = ("right", "number for text", "text for number", "byte order mark")


@pytest.mark.parametrize("spoil", SPOILS)
@pytest.mark.parametrize("name", FINISHES)
def test_answers(tmp_path: Path, capsys: pytest.CaptureFixture, name: str, spoil: str) -> None:
    benchmark, finish = FINISHES[name]
    published.WRITERS[benchmark](tmp_path)
    lines = [json.dumps(record) for record in answers_to(benchmark, tmp_path)]
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(line + "\n" for line in SPOILS[spoil](lines)))
    done = finish(tmp_path, file, capsys)
    said = done.out + done.err
    assert "Traceback" not in said
    if spoil in HARMLESS:
        assert done.code == 0 and "error: " not in done.err, said
        assert "WARNING" not in done.err or name == "seed", said  # every answer is Yes, no letter
    elif (name, spoil) in COUNTED:
        assert done.code == 0 and "error: " not in done.err, said
        assert COUNTED[name, spoil] in said
    else:
        assert done.code == 2, said
        assert done.err.splitlines()[-1].startswith("error: ") and done.err.count("error: ") == 1, done.err
        assert len(done.err.splitlines()[-1]) <= 1100
        assert any(place in done.err for place in ("answers.jsonl", "merge.jsonl", "p.json")), done.err


@pytest.mark.parametrize("name", FINISHES)
def test_an_answers_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture, name: str) -> None:
    benchmark, finish = FINISHES[name]
    published.WRITERS[benchmark](tmp_path)
    done = finish(tmp_path, tmp_path / "answers.jsonl", capsys)
    assert done.code == 2 and done.err.count("\n") == 0
    assert done.err.startswith("error: ") and "answers file must be readable" in done.err
