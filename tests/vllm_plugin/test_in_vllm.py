"""The plug-in in vLLM itself, on a CPU: the shipped model answers as it does here."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("vllm", reason="vLLM has an environment of its own: make test-vllm")
# Read by vLLM when its parts are imported: one process, and no more memory and threads than the model needs.
os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
os.environ |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}

from vllm import LLM, EngineArgs, SamplingParams
from vllm.distributed import cleanup_dist_env_and_memory

from llava.conversation import get_conv_template
from llava.hf.export import export
from llava.mm_utils import open_image, process_images, tokenizer_image_token
from llava.model.builder import load_pretrained_model
from llava.reduction import resolve
from llava.vllm import ARCHITECTURE

SHAPES = Path("playground/shapes")
QUESTIONS = [json.loads(line) for line in (SHAPES / "questions.jsonl").read_text().splitlines()[:40]]
VISIONZIP = {"method": "visionzip", "dominant": 24, "contextual": 4}
VISIONDROP = {"method": "visiondrop", "dominant": 24, "contextual": 4, "layer_list": [], "image_token_list": []}
NEW = 8


@pytest.fixture(scope="module")
def ours() -> Any:
    """Tokenizer, model and image processor of this project."""
    return load_pretrained_model(
        str(SHAPES / "llava-shapes"), None, "llava-shapes", device="cpu", torch_dtype=torch.float32
    )[:3]


@pytest.fixture(scope="module")
def checkpoint(ours: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("hf") / "llava-shapes-hf"
    export(ours[1], ours[0], get_conv_template("vicuna_v1"), str(folder))
    return str(folder)


@pytest.fixture(scope="module")
def runner(ours: Any) -> Callable[[Any], list[str]]:
    """The answers of this project's own model under a method."""
    tokenizer, model, processor = ours

    def answer(row: dict, method: Any) -> str:
        picture = open_image(SHAPES / "images" / row["image"])
        ids = tokenizer_image_token(prompt_of(row), tokenizer, return_tensors="pt")[None]
        pixels = process_images([picture], processor, model.config)
        new = model.generate(ids, images=pixels, reduction=method, do_sample=False, max_new_tokens=NEW)
        return tokenizer.decode(new[0], skip_special_tokens=True).strip()

    @torch.inference_mode()
    def answers(named: Any) -> list[str]:
        method = resolve(named, model.geometry)
        return [answer(row, method) for row in QUESTIONS]

    return answers


def prompt_of(row: dict) -> str:
    template = get_conv_template("vicuna_v1")
    template.append_message(template.roles[0], f"<image>\n{row['text']}")
    template.append_message(template.roles[1], None)
    return template.get_prompt()


def request(row: dict, **kwargs: Any) -> dict[str, Any]:
    picture = open_image(SHAPES / "images" / row["image"])
    asked = {"prompt": prompt_of(row), "multi_modal_data": {"image": picture}}
    return asked | ({"mm_processor_kwargs": kwargs} if kwargs else {})


def configured(settings: Any) -> dict[str, Any]:
    return {"architectures": [ARCHITECTURE]} | ({} if settings is None else {"visiondrop": settings})


@contextmanager
def engine(checkpoint: str, settings: Any, **more: Any) -> Iterator[Callable[..., Any]]:
    """vLLM with a method; yields what answers requests, all at once."""
    usual = {"dtype": "float32", "enforce_eager": True, "max_model_len": 512, "block_size": 32, "max_num_seqs": 16}
    held = [LLM(checkpoint, hf_overrides=configured(settings), **usual | more)]
    sampling = SamplingParams(temperature=0, max_tokens=NEW)
    try:
        yield lambda requests: held[0].generate(requests, sampling, use_tqdm=False)
    finally:
        held.clear()  # it must be gone before what its processes share
        cleanup_dist_env_and_memory()


def texts(made: list[Any]) -> list[str]:
    return [one.outputs[0].text.strip() for one in made]


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        ({"method": "none"}, {}),
        (VISIONZIP, {}),
        (VISIONDROP, {"max_num_batched_tokens": 64}),  # prompts of 90 tokens are prefilled in two parts
    ],
    ids=["none", "visionzip", "visiondrop"],
)
def test_answers_are_the_runners_in_batches_and_from_the_prefix_cache(
    checkpoint: str, runner: Callable[[Any], list[str]], settings: Any, more: Any
) -> None:
    expected = runner(settings)
    assert len(set(expected)) > 8
    with engine(checkpoint, settings, **more) as generate:
        made = generate([request(row) for row in QUESTIONS])
        assert texts(made) == expected
        images = {one.prompt_token_ids.count(640) for one in made}  # the id of <image> there
        assert images == {256 if settings["method"] == "none" else 28}
        again = generate([request(row) for row in QUESTIONS])
        assert texts(again) == expected and all(one.num_cached_tokens >= 64 for one in again)
        if settings is VISIONZIP:
            check_budgets(generate, runner)


def check_budgets(generate: Callable[..., Any], runner: Callable[[Any], list[str]]) -> None:
    """Requests of three budgets in one batch, and those that are refused."""
    budgets = [None, 16, 64]
    expected = [runner(VISIONZIP if each is None else {"method": "visionzip", "retain": each}) for each in budgets]
    chosen = [number % 3 for number in range(len(QUESTIONS))]
    asked = [
        request(row, **({} if budgets[which] is None else {"retain": budgets[which]}))
        for row, which in zip(QUESTIONS, chosen)
    ]
    made = generate(asked)
    assert texts(made) == [expected[which][number] for number, which in enumerate(chosen)]
    assert [one.prompt_token_ids.count(640) for one in made] == [[28, 16, 64][which] for which in chosen]
    for wrong, complaint in [
        ({"retian": 16}, "got 'retian'; leave it out"),
        ({"retain": 0}, "retain must be a whole number of at least 1"),
        ({"retain": 1.5}, "retain must be a whole number"),
        ({"retain": 1000}, "must not exceed what the encoder has"),
    ]:
        with pytest.raises(ValueError, match=complaint):
            generate([request(QUESTIONS[0], **wrong)])


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (None, "--hf-overrides must say how pictures are reduced"),
        ({"method": "visiondrop", "retain": 28}, "vLLM keeps one length of a prompt through all layers"),
        ({"method": "fastv", "fast_v_agg_layer": 2}, "fastv"),
        ({"method": "cdpruner", "retain": 28}, "cdpruner, which reads the question"),
        ({"method": "visionzip", "dominat": 24}, "has no setting 'dominat'"),
        ({"method": "visionzap"}, "unknown reduction method 'visionzap'"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_engine_starts(
    checkpoint: str, settings: Any, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        EngineArgs(checkpoint, hf_overrides=configured(settings)).create_model_config()
    assert any(complaint in line for line in str(caught.value).splitlines())
