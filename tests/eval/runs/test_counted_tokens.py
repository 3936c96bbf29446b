"""The average image tokens that a run says are those that were computed: pictures of any size, chunks, stopped runs."""

import json
import random
import re
import shutil
from pathlib import Path

import pytest
import torch
from commands import call
from PIL import Image
from shallow import shallow
from tiny_models import tiny_model

from llava.eval.runs.answering import Answering
from llava.eval.runs.settings import path_of
from llava.mm_utils import process_images
from llava.model.builder import load_pretrained_model
from llava.model.trace import Trace
from llava.reduction import Geometry, Reduction, create, method_class
from llava.reduction.schedule import layers_per_stage

EDGE, PICTURES = 16, 200  # pixels of a view of 4 x 4 patches
GEOMETRY = Geometry(layers=8, patches=16, views=5, unreduced=88)
PINPOINTS = [[16, 32], [32, 16], [32, 32], [48, 16], [16, 48]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LLaVA-1.6's layout, of random weights that take milliseconds."""
    folder = tmp_path_factory.mktemp("next") / "llava-next"
    anyres = {"image_aspect_ratio": "anyres", "mm_patch_merge_type": "spatial_unpad", "image_grid_pinpoints": PINPOINTS}
    model = tiny_model(side=4, layers=8, tokenizer_model_max_length=2048, **anyres)
    model.resize_token_embeddings(700)
    model.save_pretrained(folder)
    source = shallow("llava-tiny-next")
    for name in ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(source / name, folder)
    settings = json.loads((source / "vision_tower/preprocessor_config.json").read_text())
    settings |= {"crop_size": {"height": EDGE, "width": EDGE}, "size": {"shortest_edge": EDGE}}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def counted() -> dict[str, list[float]]:
    """What `kept` has found for a method."""
    return {}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A question about each of 200 pictures of random sizes."""
    folder, draw = tmp_path_factory.mktemp("asked"), random.Random(0)
    lines = []
    for number in range(PICTURES):
        size = (draw.randint(1, 90), draw.randint(1, 90))
        Image.effect_noise(size, 60).convert("RGB").save(folder / f"{number}.png")
        lines.append({"question_id": number, "image": f"{number}.png", "text": "What is it?"})
    (folder / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def flags(checkpoint: Path, asked: Path, answers: Path, *more: object) -> list[object]:
    paths = ["--model-path", checkpoint, "--image-folder", asked, "--question-file", asked / "questions.jsonl"]
    rest = ["--conv-mode", "vicuna_v1", "--device", "cpu", "--temperature", 0, "--max_new_tokens", 1]
    return [*paths, "--answers-file", answers, *rest, "--batch-size", 16, *more]


def kept(checkpoint: Path, asked: Path, method: Reduction) -> list[float]:
    """Image tokens per layer of each picture, from the layouts of a prompt of its own."""
    _, model, processor, _ = load_pretrained_model(str(checkpoint), None, "llava", device="cpu")
    runs, found = layers_per_stage(method, 8), []
    for number in range(PICTURES):
        picture, trace = Image.open(asked / f"{number}.png"), Trace()
        pixels = process_images([picture], processor, model.config)[0]
        arguments = {"images": [pixels], "image_sizes": [picture.size], "reduction": method, "trace": trace}
        with torch.no_grad():
            model(torch.tensor([[1, 5, -200, 6]]), **arguments)
        assert trace.layout is not None
        counts = [trace.layout.spans[0].length, *(stage.after.spans[0].length for stage in trace.stages)]
        found.append(sum(run * count for run, count in zip(runs, counts, strict=True)) / 8)
    return found


METHODS = {
    "none": ([], create("none")),
    "visiondrop": (["--retain", 24], method_class("visiondrop").from_budget(24, GEOMETRY)),
    "visionzip": (["--method", "visionzip", "--retain", 30], method_class("visionzip").from_budget(30, GEOMETRY)),
    "pyramiddrop": (
        ["--method", "pyramiddrop", "--layer_list", "[2,4,6]"],
        create("pyramiddrop", layer_list=[2, 4, 6]),
    ),
}


@pytest.mark.parametrize("name", METHODS)
def test_the_average_that_is_said_is_the_average_that_was_computed(
    checkpoint: Path, asked: Path, counted: dict, tmp_path: Path, capsys: pytest.CaptureFixture, name: str
) -> None:
    chosen, method = METHODS[name]
    done = call("model_vqa_loader", capsys, *flags(checkpoint, asked, tmp_path / "a.jsonl", *chosen))
    assert done.code == 0, done.err
    computed = counted[name] = kept(checkpoint, asked, method)
    noted = json.loads(path_of(tmp_path / "a.jsonl").read_text())
    assert noted["questions_counted"] == PICTURES
    assert noted["average_tokens"] == pytest.approx(sum(computed) / PICTURES, rel=1e-12)
    said = f"counted: {sum(computed) / PICTURES:.1f} image tokens per LLM layer, on average over {PICTURES} questions\n"
    assert said in done.out and re.search("^of a picture of 5 views, the most: average ", done.out, re.MULTILINE)
    assert len(set(computed)) > 1  # pictures of several numbers of views are among them


def test_a_budget_is_the_same_share_for_every_picture(checkpoint: Path, asked: Path, counted: dict) -> None:
    """24 of 80 patches: every picture of v views has 24 / 80 of its 16 v, but for the rounding of the counts."""
    found = counted.get("visiondrop") or kept(checkpoint, asked, METHODS["visiondrop"][1])
    for tokens in set(found):
        views = min(range(1, 6), key=lambda views: abs(tokens - 24 * views / 5))
        assert abs(tokens - 24 * views / 5) <= 0.75


def test_chunks_and_stopped_runs_count_every_question_once(
    checkpoint: Path, asked: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = METHODS["visiondrop"][0]
    assert call("model_vqa_loader", capsys, *flags(checkpoint, asked, tmp_path / "a.jsonl", *chosen)).code == 0
    whole = json.loads(path_of(tmp_path / "a.jsonl").read_text())
    pieces = [tmp_path / f"piece{number}.jsonl" for number in range(3)]
    answer, parts = Answering._answer_at_once, []

    def stopped(self: Answering, numbers: list[int], items: list) -> dict[int, str]:
        parts.append(numbers)
        if len(parts) == 3:
            raise KeyboardInterrupt
        return answer(self, numbers, items)

    monkeypatch.setattr(Answering, "_answer_at_once", stopped)
    for number, piece in enumerate(pieces):
        arguments = flags(checkpoint, asked, piece, *chosen, "--num-chunks", 3, "--chunk-idx", number)
        done = call("model_vqa_loader", capsys, *arguments)
        assert (done.code != 0) == (number == 0)
        if done.code:
            assert json.loads(path_of(piece).read_text())["questions_counted"] == 32
            assert call("model_vqa_loader", capsys, *arguments).code == 0
    assert call("merge", capsys, "--answers-file", tmp_path / "merged.jsonl", *pieces).code == 0
    merged = json.loads(path_of(tmp_path / "merged.jsonl").read_text())
    assert merged["questions_counted"] == PICTURES
    assert merged["average_tokens"] == pytest.approx(whole["average_tokens"], rel=1e-12)
    again = call("model_vqa_loader", capsys, *flags(checkpoint, asked, tmp_path / "a.jsonl", *chosen))
    assert again.code == 0 and f"on average over {PICTURES} questions\n" in again.out
    assert json.loads(path_of(tmp_path / "a.jsonl").read_text()) == whole
