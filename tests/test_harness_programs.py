"""An evaluation harness's adapter for LLaVA, as lmms-eval has it, with its calls in its spelling."""

import copy
from typing import Any

import torch
from conftest import PARITY, Load
from llava_program import CHECKPOINT, PICTURE, QUESTION, expected, input_of, prompt_of

from llava.constants import DEFAULT_IMAGE_TOKEN, IMAGE_TOKEN_INDEX
from llava.conversation import conv_templates
from llava.eval.run_llava import load_images
from llava.mm_utils import process_images, tokenizer_image_token
from llava.model.builder import load_pretrained_model


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
