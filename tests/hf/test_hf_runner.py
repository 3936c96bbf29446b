"""The evaluation runners on checkpoints of transformers' own classes: answers, what is shared, chunks, and going on."""

import base64
import functools
import json
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import call, records, texts
from conftest import PARITY
from dying_runs import answer, forked
from hf_folders import hosts, qwens  # noqa: F401  fixtures

import llava.hf
from llava.eval.runs import hf_run
from llava.hf import mrope, staged
from llava.hf.entry import enter
from llava.mm_utils import open_image
from llava.model.builder import load_pretrained_model
from llava.model.checkpoint.chat_template import read_chat_template
from llava.model.checkpoint.folder import Folder

IMAGES = PARITY / "families" / "images"
NAMES = ["qwen2", "qwen2_5", "qwen3", "internvl"]
LINES = [
    ("tall.png", "What?"),
    ("wide.png", "How many  are there, and where?"),
    ("tall.png", "Is it red?"),
    ("small.png", "What?"),
    ("tall.png", "Why?"),
    ("wide.png", "Is it?"),
]
GREEDY = ("--temperature", 0, "--max_new_tokens", 6, "--device", "cpu")
METHODS = {"visionzip": "30%", "pyramiddrop": "60%"}


class Asking:
    """A checkpoint asked as its authors would: chat template, processor, `generate`."""

    def __init__(self, folder: Path, method: str, retain: float) -> None:
        self.tokenizer, model, self.processor, _ = load_pretrained_model(str(folder), None, "x", device="cpu")
        self.model = llava.hf.reduce(model, method, retain=retain)
        self.chat = read_chat_template(Folder(str(folder)))

    @torch.inference_mode()
    def __call__(self, text: str, picture: Any = None, new: int = 6) -> str:
        content = [*([{"type": "image"}] if picture is not None else []), {"type": "text", "text": text}]
        said = [{"role": "user", "content": content}]
        chat = {"chat_template": self.chat, "tokenize": False, "add_generation_prompt": True}
        prompt = self.tokenizer.apply_chat_template(said, **chat)
        given = self.processor(text=prompt, images=[] if picture is None else [picture])
        made = self.model.generate(**given, max_new_tokens=new, do_sample=False)[0, given["input_ids"].shape[1] :]
        return self.tokenizer.decode(made, skip_special_tokens=True).strip()


def asked_of(folder: Path, lines: list[tuple[str, str]] = LINES) -> tuple[Any, ...]:
    """Flags for a question file in a folder."""
    path = folder / "q.jsonl"
    made = [{"question_id": n, "image": image, "text": text} for n, (image, text) in enumerate(lines)]
    path.write_text("".join(json.dumps(line) + "\n" for line in made))
    return ("--question-file", path, "--image-folder", IMAGES, *GREEDY)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """Pictures, or tiles of them, that a run's tower sees (`seen`), and pictures that its LLM runs over (`run`)."""
    found: Counter = Counter()
    watching: list[Any] = []
    load = hf_run.load_host

    def loading(*args: Any, **kwargs: Any) -> Any:
        made = load(*args, **kwargs)
        inner = type(made[1].model)
        see = inner.get_image_features
        if see in watching:
            return made

        @functools.wraps(see)
        def seeing(self: Any, pixel_values: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            grids = kwargs.get("image_grid_thw", args[0] if args else None)
            found["seen"] += len(pixel_values if grids is None else grids)
            return see(self, pixel_values, *args, **kwargs)

        watching.append(seeing)
        monkeypatch.setattr(inner, "get_image_features", seeing)
        return made

    def entering(*args: Any) -> Any:
        made = enter(*args)
        found["run"] += len(made.layout.spans)
        return made

    monkeypatch.setattr(hf_run, "load_host", loading)
    for module in (staged, mrope):
        monkeypatch.setattr(module, "enter", entering)
    return found


@pytest.mark.parametrize(
    ("name", "method", "sizes"),
    [*((name, "visionzip", (2, 4)) for name in NAMES), *((name, "pyramiddrop", ("auto",)) for name in NAMES[1::2])],
)
def test_a_picture_is_encoded_once_for_all_questions_about_it(
    name: str,
    method: str,
    sizes: tuple[Any, ...],
    hosts: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    counted: Counter,
) -> None:
    """Answers are those of `generate`, one at a time; also where nothing can be kept, and on going on."""
    flags = ("--model-path", hosts[name], *asked_of(tmp_path), "--method", method, "--retain", METHODS[method])
    asking = Asking(hosts[name], method, float(METHODS[method][:-1]) / 100)
    wanted = [asking(text, open_image(IMAGES / image)) for image, text in LINES]
    shown = ["tall.png", "wide.png", "small.png"]
    tiles = {image: len(asking.processor.pixels([open_image(IMAGES / image)])["pixel_values"]) for image in shown}
    units = tiles if name == "internvl" else dict.fromkeys(shown, 1)
    once, each = sum(units.values()), len(LINES)
    for size in sizes:
        memory = ("--prefix-memory", 0) if size == 4 else ()
        answers = tmp_path / f"{size}.jsonl"
        counted.clear()
        done = call("model_vqa_loader", capsys, *flags, "--answers-file", answers, "--batch-size", size, *memory)
        assert not done.code, done.err
        assert texts(answers) == wanted
        assert counted["seen"] == once if not memory else counted["seen"] > once
        assert counted["run"] == (each if method == "pyramiddrop" else 3 if not memory else 4), counted
    answers = tmp_path / f"{sizes[0]}.jsonl"
    answers.write_text("".join(line for line in answers.read_text().splitlines(keepends=True)[:1]))
    arguments = (*flags, "--answers-file", answers, "--batch-size", sizes[0])
    assert not call("model_vqa_loader", capsys, *arguments).code
    assert texts(answers) == wanted
    other = call("model_vqa_loader", capsys, *arguments, "--retain", "70%")
    assert other.code == 2 and "settings" in other.err


@pytest.mark.parametrize("name", ["qwen2_5", "internvl"])
def test_chunks_are_the_whole(name: str, hosts: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    flags = ("--model-path", hosts[name], *asked_of(tmp_path), "--retain", "30%", "--batch-size", 4)
    whole, parts = tmp_path / "whole.jsonl", [tmp_path / f"{chunk}.jsonl" for chunk in range(2)]
    assert not call("model_vqa_loader", capsys, *flags, "--answers-file", whole).code
    for chunk, path in enumerate(parts):
        cut = ("--num-chunks", 2, "--chunk-idx", chunk)
        assert not call("model_vqa_loader", capsys, *flags, *cut, "--answers-file", path).code
    assert texts(parts[0]) + texts(parts[1]) == texts(whole)
    merged = tmp_path / "merged.jsonl"
    assert not call("merge", capsys, "--answers-file", merged, *parts).code
    assert texts(merged) == texts(whole)


@pytest.mark.parametrize("name", ["qwen3", "internvl"])
def test_mmbench(name: str, hosts: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    table, answers = tmp_path / "table.tsv", tmp_path / "a.jsonl"
    rows = ["index\tquestion\thint\tA\tB\tC\tD\tanswer\tcategory\tl2-category\timage\tsource\tsplit"]
    for number, image in enumerate(("tall.png", "wide.png")):
        picture = base64.b64encode((IMAGES / image).read_bytes()).decode()
        rows.append(f"{number}\tWhat is it?\tLook.\tone\ttwo\t\t\tA\tx\ty\t{picture}\tz\tdev")
    table.write_text("\n".join(rows) + "\n")
    flags = ("--model-path", hosts[name], "--question-file", table, "--answers-file", answers, *GREEDY)
    done = call("model_vqa_mmbench", capsys, *flags, "--retain", "30%", "--single-pred-prompt", "--all-rounds")
    assert not done.code, done.err
    asking = Asking(hosts[name], "visiondrop", 0.3)
    told = "\nAnswer with the option's letter from the given choices directly."
    wanted = [
        asking(f"Look.\nWhat is it?\nA. {first}\nB. {second}{told}", open_image(IMAGES / image))
        for image in ("tall.png", "wide.png")
        for first, second in (("one", "two"), ("two", "one"))
    ]
    assert texts(answers) == wanted


@pytest.mark.parametrize("name", ["qwen2", "internvl"])
def test_science_with_and_without_pictures(
    name: str, hosts: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """In one batch."""
    path, answers = tmp_path / "q.json", tmp_path / "a.jsonl"
    asked = [("tall.png", "Is it a dog?"), (None, "What is water made of?"), ("tall.png", "What is behind it?")]
    said = [
        {"id": str(number), **({"image": image} if image else {}), "conversations": [{"from": "human", "value": text}]}
        for number, (image, text) in enumerate(asked)
    ]
    path.write_text(json.dumps(said))
    flags = ("--model-path", hosts[name], "--question-file", path, "--answers-file", answers, *GREEDY)
    done = call("model_vqa_science", capsys, *flags, "--image-folder", IMAGES, "--retain", "30%", "--batch-size", 3)
    assert not done.code, done.err
    asking = Asking(hosts[name], "visiondrop", 0.3)
    assert texts(answers) == [asking(text, image and open_image(IMAGES / image)) for image, text in asked]
    assert "over 2 questions" in done.out and records(answers)[0]["prompt"] == "<image>\nIs it a dog?"


@pytest.mark.slow
@pytest.mark.long
def test_killed_and_continued(hosts: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Wherever it is killed, a run that goes on ends with the same answers."""
    lines = [(("tall.png", "wide.png", "small.png")[number % 3], f"What {number}?") for number in range(60)]
    flags = ("--model-path", hosts["qwen2_5"], *asked_of(tmp_path, lines), "--retain", "30%", "--batch-size", 4)
    whole, path, chance = tmp_path / "whole.jsonl", tmp_path / "a.jsonl", random.Random(20261126)
    assert not call("model_vqa_loader", capsys, *flags, "--answers-file", whole).code
    arguments = [str(flag) for flag in (*flags, "--answers-file", path)]
    lengths = [0]
    for _ in range(3):
        process = forked().Process(target=answer, args=(arguments, str(tmp_path / "said.txt")))
        process.start()
        while process.is_alive() and (not path.exists() or path.read_bytes().count(b"\n") <= lengths[-1]):
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.05))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, (tmp_path / "said.txt").read_text()
        lengths.append(path.read_bytes().count(b"\n"))
    assert lengths == sorted(lengths) and 0 < lengths[1] < len(lines)
    assert not call("model_vqa_loader", capsys, *flags, "--answers-file", path).code
    assert texts(path) == texts(whole)
