"""What LLaVA's own code computes on other language models than Vicuna: Mistral, Llama-3, Qwen1.5, MPT, one key head."""

from typing import Any

import pytest
import torch
from conftest import PARITY, Load, Loaded
from test_family_parity import FAMILIES, GREEDY, NEAR, recorded

from llava.mm_utils import open_image, process_images, tokenizer_image_token
from llava.model import LlavaLlamaForCausalLM, LlavaMistralForCausalLM, LlavaMptForCausalLM, LlavaQwenForCausalLM
from llava.model.tokenizer import load_tokenizer
from llava.model.trace import Trace
from llava.reduction import create

MQA = {"layer_list": [2, 4, 6]}
DROP = {"dominant": 42, "contextual": 6, "image_token_list": [[30, 5], [22, 4], [16, 3]], **MQA}
# Case, checkpoint, class, pictures.
CASES = [
    ("mistral-next", "mistral-next", LlavaMistralForCausalLM, ["0.png"]),
    ("mistral-next-portrait", "mistral-next", LlavaMistralForCausalLM, ["1.png"]),
    ("mistral-next-two-images", "mistral-next", LlavaMistralForCausalLM, ["3.png", "1.png"]),
    ("llama3-next", "llama3-next", LlavaLlamaForCausalLM, ["3.png"]),
    ("mpt", "mpt", LlavaMptForCausalLM, ["0.png"]),
    ("next-qwen-clip", "next-qwen-clip", LlavaQwenForCausalLM, ["3.png"]),
]


def seen(loaded: Loaded, *names: str) -> dict[str, Any]:
    """Pictures as `generate` takes them."""
    pictures = [open_image(PARITY / "images" / name) for name in names]
    pixels = [process_images([picture], loaded.processor, loaded.model.config)[0] for picture in pictures]
    return {"images": pixels, "image_sizes": [picture.size for picture in pictures]}


def sampled(trace: Trace, wanted: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Decoder inputs (T, D) and the recorded ones; of long prompts every sixteenth token is kept here."""
    assert trace.inputs_embeds is not None
    if "inputs_embeds" in wanted:
        return trace.inputs_embeds[0], wanted["inputs_embeds"]
    return trace.inputs_embeds[0, ::16], wanted["inputs_embeds.16"]


@pytest.mark.parametrize(("case", "checkpoint", "kind", "pictures"), CASES, ids=[case[0] for case in CASES])
def test_prompt_and_answer(load: Load, case: str, checkpoint: str, kind: type, pictures: list[str]) -> None:
    loaded, (wanted, (prompt,)), trace = load(f"families/{checkpoint}"), recorded(case), Trace()
    assert type(loaded.model) is kind
    ids = tokenizer_image_token(prompt, loaded.tokenizer, return_tensors="pt")
    assert torch.equal(ids, wanted["input_ids"])
    shown = seen(loaded, *pictures)
    for number, pixels in enumerate(shown["images"]):
        assert torch.equal(
            pixels[..., 5::16, 5::16], wanted[f"pixel_sample.{number}"].view_as(pixels[..., 5::16, 5::16])
        )
    count = len(wanted["generated_ids"])
    got = loaded.model.generate(ids[None], **shown, **GREEDY, max_new_tokens=count, trace=trace)
    torch.testing.assert_close(*sampled(trace, wanted), **NEAR)
    torch.testing.assert_close(torch.cat(got.logits), wanted["logits"], **NEAR)
    assert torch.equal(got.sequences[0], wanted["generated_ids"])


def test_loss_of_a_batch_with_a_prompt_of_text(load: Load) -> None:
    loaded, (wanted, _) = load("families/mistral-next"), recorded("batch-mistral-next-right")
    shown = seen(loaded, "1.png", "2.png")
    shown["images"].append(torch.zeros_like(shown["images"][0]))  # LLaVA's filler for a prompt without a picture
    shown["image_sizes"].append((336, 336))
    asked = {name: wanted[name] for name in ("input_ids", "attention_mask", "labels")}
    with torch.no_grad():
        got = loaded.model(**asked, **shown)
    torch.testing.assert_close(got.loss, wanted["loss"][0], **NEAR)
    torch.testing.assert_close(got.logits[:, -12:], wanted["last_logits"], **NEAR)


@pytest.mark.parametrize(
    ("case", "picture", "method"),
    [
        ("visiondrop-mqa", "0.png", ("visiondrop", DROP)),
        ("pdrop-mqa", "1.png", ("pyramiddrop", MQA | {"image_token_ratio_list": [0.5, 0.25, 0.125]})),
    ],
)
def test_one_key_head_for_all_queries(load: Load, case: str, picture: str, method: tuple[str, dict]) -> None:
    loaded, (wanted, (prompt,)), trace = load("families/mqa"), recorded(case), Trace()
    ids = tokenizer_image_token(prompt, loaded.tokenizer, return_tensors="pt")
    assert torch.equal(ids, wanted["input_ids"])
    count = len(wanted["generated_ids"])
    loaded.model.reduction = create(method[0], **method[1])
    arguments = {**seen(loaded, picture), **GREEDY, "max_new_tokens": count, "trace": trace}
    got = loaded.model.generate(ids[None], **arguments)
    torch.testing.assert_close(*sampled(trace, wanted), **NEAR)
    torch.testing.assert_close(torch.cat(got.logits), wanted["logits"], **NEAR)
    assert torch.equal(got.sequences[0], wanted["generated_ids"])


def test_bos_is_there_twice_once_and_not_at_all() -> None:
    """Llama-3 prompts carry it and its tokenizer adds another; Yi and Qwen have none, and nothing is taken for one."""
    begins = {"llama3-next": 2, "mistral-next": 1, "yi-next": 0, "next-qwen-clip": 0}
    for name, count in begins.items():
        wanted, (prompt,) = recorded(name)
        tokenizer = load_tokenizer(str(FAMILIES / name))
        ids = tokenizer_image_token(prompt, tokenizer)
        assert ids == wanted["input_ids"].tolist()
        assert ids.count(tokenizer.bos_token_id) == ids[:2].count(tokenizer.bos_token_id) == count


@pytest.mark.parametrize("name", ["yi-next", "next-qwen-clip"])
def test_text_behind_an_image_keeps_its_first_token(name: str) -> None:
    tokenizer = load_tokenizer(str(FAMILIES / name))
    for bos in filter(None, ["<s>", tokenizer.bos_token, "a"]):
        parts = [tokenizer(text).input_ids for text in (bos, "What is it?")]
        assert tokenizer_image_token(f"{bos}<image>What is it?", tokenizer) == [*parts[0], -200, *parts[1]]


def test_rows_beyond_the_tokenizer_are_left_out(load: Load) -> None:
    """As LLaVA's loader does: they are padding for the hardware and could be answered."""
    model = load("families/next-qwen-clip").model  # 700 rows in the file for 643 tokens
    assert model.config.vocab_size == model.lm_head.out_features == model.get_input_embeddings().num_embeddings == 643
