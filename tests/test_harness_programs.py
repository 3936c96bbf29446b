"""Evaluation harnesses' adapters for LLaVA, lmms-eval's and VLMEvalKit's, with their calls in their spelling.

lmms-eval itself is run by `tests/eval/harness`.
"""

import copy
import functools
import importlib
import importlib.util
import json
import tomllib
from abc import abstractproperty
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import PARITY, Load
from llava_program import CHECKPOINT, PICTURE, QUESTION, expected, input_of, prompt_of

from llava.constants import DEFAULT_IMAGE_TOKEN, IMAGE_TOKEN_INDEX
from llava.conversation import conv_templates
from llava.errors import InputError
from llava.eval.run_llava import load_images
from llava.mm_utils import KeywordsStoppingCriteria, get_model_name_from_path, process_images, tokenizer_image_token
from llava.model.builder import load_pretrained_model
from llava.reduction import create


def test_the_entry_point_names_what_is_there() -> None:
    """What lmms-eval reads when it starts; it is no import of this package's models, nor of lmms-eval."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    module, function = project["entry-points"]["lmms_eval.models"]["visiondrop"].split(":")
    entry = importlib.import_module(module)
    assert callable(getattr(entry, function))
    classes = [form for forms in entry.MODELS.values() for form in forms if form is not None]
    assert all(importlib.util.find_spec(f"{entry.__package__}.{form.split('.')[0]}") for form in classes)


def test_an_evaluation_harness_loads() -> None:
    """lmms-eval: a device as the map, and arguments for models of another repository."""
    arguments = {"multimodal": True, "attn_implementation": "sdpa", "customized_config": None, "overwrite_config": {}}
    _, model, _, _ = load_pretrained_model(CHECKPOINT, None, "llava-tiny-12l", device_map="cpu", **arguments)
    assert model.device.type == "cpu" and model.dtype == torch.float32


def padded(rows: list[torch.Tensor], side: str, value: int) -> torch.Tensor:
    """Prompts of different lengths in one tensor, filled up on the tokenizer's side."""
    most = max(map(len, rows))
    gaps = [(most - len(row), 0) if side == "left" else (0, most - len(row)) for row in rows]
    return torch.stack([torch.nn.functional.pad(row, gap, value=value) for row, gap in zip(rows, gaps)])


def test_an_evaluation_harness_answers_in_batches(load: Load) -> None:
    """lmms-eval: conversations copied deeply, padding found by its id, every generation argument by its name."""
    tokenizer, model, processor, _ = loaded = load("llava-tiny-12l")
    model.eval()
    visuals = load_images([PICTURE, str(PARITY / "images" / "1.png")])
    pixels = process_images(visuals, processor, model.config).to(dtype=torch.float16, device=model.device)
    prompts = []
    for context in (QUESTION, "Is there a dog in the picture? Answer the question using a single word."):
        conv = copy.deepcopy(conv_templates["vicuna_v1"])
        conv.append_message(conv.roles[0], f"{DEFAULT_IMAGE_TOKEN}\n{context}")
        conv.append_message(conv.roles[1], None)
        prompts.append(conv.get_prompt())
    rows = [tokenizer_image_token(prompt, tokenizer, IMAGE_TOKEN_INDEX, return_tensors="pt") for prompt in prompts]
    filler = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    ids = padded(rows, tokenizer.padding_side, filler)
    settings: dict[str, Any] = {"do_sample": False, "temperature": 0, "top_p": None, "num_beams": 1}
    answers = model.generate(
        ids,
        attention_mask=ids.ne(filler),
        pad_token_id=filler,
        images=pixels,
        image_sizes=[visual.size for visual in visuals],
        max_new_tokens=4,
        use_cache=True,
        **settings,
    )
    texts = tokenizer.batch_decode(answers, skip_special_tokens=True)
    assert len(texts) == 2 and texts[0] == tokenizer.decode(expected(loaded), skip_special_tokens=True)


def test_an_evaluation_harness_rates_an_answer(load: Load) -> None:
    """lmms-eval's loglikelihood: labels without the context, loss and logits by their names."""
    loaded = load("llava-tiny-12l")
    model, tokenizer = loaded.model, loaded.tokenizer
    contxt_id, pixels, sizes = input_of(loaded)
    whole = prompt_of() + " Red</s>"
    input_ids = tokenizer_image_token(whole, tokenizer, IMAGE_TOKEN_INDEX, return_tensors="pt").unsqueeze(0)
    labels = input_ids.clone()
    labels[0, : contxt_id.shape[1]] = -100
    with torch.inference_mode():
        outputs = model(input_ids=input_ids, labels=labels, images=pixels, use_cache=True, image_sizes=sizes)
    told = input_ids.shape[1] - contxt_id.shape[1]
    scores = outputs["logits"][0, -told - 1 : -1].log_softmax(-1)
    loss = -scores.gather(1, input_ids[0, -told:, None]).mean()
    assert torch.allclose(outputs["loss"], loss, atol=1e-5)


@functools.cache
def evalkits_model(model_path: str) -> tuple[Any, ...]:
    """Loaded as VLMEvalKit does."""
    name = get_model_name_from_path(model_path)
    return load_pretrained_model(
        model_path=model_path, model_base=None, model_name=name, device="cpu", device_map="cpu"
    )


class EvalKit:
    """VLMEvalKit's LLaVA: what its JSON configuration says beside the class goes to `generate` with every question."""

    system = (
        "A chat between a curious human and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the human's questions. "
    )

    def __init__(self, model_path: str, **kwargs: Any) -> None:
        self.tokenizer, self.model, self.image_processor, _ = evalkits_model(model_path)
        greedy = {"do_sample": False, "temperature": 0, "max_new_tokens": 6, "top_p": None, "num_beams": 1}
        self.kwargs = {**greedy, "use_cache": True, **kwargs}

    def answer(self, message: list[dict[str, str]]) -> str:
        """Pictures by their files, each where it is meant."""
        text = "".join(part["value"] if part["type"] == "text" else " <image> " for part in message)
        pictures = load_images([part["value"] for part in message if part["type"] == "image"])
        args = abstractproperty()
        args.image_aspect_ratio = "pad"
        pixels = process_images(pictures, self.image_processor, args).to("cpu", dtype=torch.float16)
        prompt = self.system + "USER: " + text + " ASSISTANT: "
        ids = tokenizer_image_token(prompt, self.tokenizer, IMAGE_TOKEN_INDEX, return_tensors="pt").unsqueeze(0)
        stopping = [KeywordsStoppingCriteria(["</s>"], self.tokenizer, ids)]
        with torch.inference_mode():
            new = self.model.generate(ids, images=pixels, stopping_criteria=stopping, **self.kwargs)
        return self.tokenizer.batch_decode(new, skip_special_tokens=True)[0].strip()


def evalkit(**more: Any) -> EvalKit:
    """From its configuration, as text."""
    model = {"class": "LLaVA", "model_path": CHECKPOINT, **more}
    config = json.loads(json.dumps({"model": {"mine": model}, "data": {"MME": {"class": "", "dataset": "MME"}}}))
    chosen = config["model"]["mine"]
    assert chosen.pop("class") == "LLaVA"
    return EvalKit(**chosen)


MESSAGE = [{"type": "image", "value": PICTURE}, {"type": "text", "value": QUESTION}]


@pytest.mark.parametrize("reduction", [{"method": "visiondrop", "retain": 64}, "visionzip", {"method": "none"}])
def test_vlmevalkits_configuration_names_a_method(reduction: Any) -> None:
    plain, named = evalkit().answer(MESSAGE), evalkit(reduction=reduction).answer(MESSAGE)
    model = evalkit().model
    assert model.reduction == create("none")  # a call's method is the call's
    model.reduction = reduction
    assigned = evalkit().answer(MESSAGE)
    model.reduction = None
    assert named == assigned and (named == plain) == (reduction == {"method": "none"})


def test_vlmevalkits_configuration_with_a_word_that_is_none() -> None:
    with pytest.raises(InputError, match="visoindrop"):
        evalkit(reduction={"method": "visoindrop"}).answer(MESSAGE)
