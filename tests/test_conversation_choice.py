"""`--conv-mode auto`: which template a checkpoint has, from what it shows; where that says nothing, no guess."""

import pytest

from llava.conversation_choice import Signs, contradiction, own_template
from llava.errors import InputError

CHAT = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
LLAMA_2 = "[INST] <<SYS>>\n{{ messages[0].content }}\n<</SYS>>"
MLP = {"projector": "mlp2x_gelu"}


@pytest.mark.parametrize(
    ("signs", "own"),
    [
        (Signs("llava", ("llava-v1.5-7b",), **MLP), "vicuna_v1"),
        (Signs("llava", ("llava-v1.6-vicuna-13b",), **MLP), "vicuna_v1"),
        (Signs("llava_llama", ("my-finetune",), **MLP), "vicuna_v1"),
        (Signs("llava_llama", ("adapter", "vicuna-7b-v1.5")), "vicuna_v1"),
        (Signs("llava_mistral", ("llava-v1.6-mistral-7b",), **MLP), "mistral_instruct"),
        (Signs("llava_mistral", ("x",), frozenset(["<|im_end|>"]), **MLP), "mistral_direct"),
        (Signs("llava_llama", ("llava-v1.6-34b",), frozenset(["<|im_end|>"]), chat_template=CHAT), "chatml_direct"),
        (Signs("llava_llama", ("x",), adds_bos=False, **MLP), "chatml_direct"),
        (Signs("llava_llama", ("LLaVA-NeXT-Video-34B",), adds_bos=False), "chatml_direct"),
        (Signs("llava_llama", ("llama3-llava-next-8b",), frozenset(["<|eot_id|>"]), True, False), "llava_llama_3"),
        (Signs("llava_qwen", ("llava-onevision-qwen2-7b-ov",), is_llama_tokenizer=False, **MLP), "qwen_1_5"),
        (Signs("llava_qwen", ("llava-next-72b",)), "qwen_1_5"),
        (Signs("llava_mpt", ("LLaVA-Lightning-MPT-7B-preview",), projector="linear"), "mpt"),
        (Signs("llava", ("llava-llama-2-13b-chat-lightning-preview",), projector="linear"), "llava_llama_2"),
        (Signs("llava_llama", ("adapter", "Llama-2-7b-chat-hf"), **MLP), "llava_llama_2"),
        (Signs("llava_llama", ("x",), chat_template=LLAMA_2, **MLP), "llava_llama_2"),
        (Signs("llava_llama", ("x",), chat_template="USER: {{ q }} ASSISTANT:"), "vicuna_v1"),
        (Signs("llava", ("LLaVA-13b-v0",), projector="linear"), "llava_v0"),
        (Signs("llava", ("LLaVA-Lightning-7B-v1-1",), projector="linear"), "vicuna_v1"),
    ],
)
def test_templates_of_checkpoints(signs: Signs, own: str) -> None:
    assert own_template(signs) == own


@pytest.mark.parametrize(
    ("signs", "candidates"),
    [
        (Signs("llava_llama", ("mine",), projector="linear"), "vicuna_v1, llava_v1, llava_v0, llava_llama_2"),
        (Signs("llava_llama", ("mine",), is_llama_tokenizer=False), "llava_llama_3, qwen_1_5, chatml_direct"),
        (Signs("llava_llama", ("vicuna-projector",), projector_alone=True, **MLP), "plain, vicuna_v1"),
        (Signs("llava_qwen", ("projector",), projector_alone=True), "plain, qwen_1_5"),
        (Signs("bert", ("x",)), "vicuna_v1"),
    ],
)
def test_what_tells_nothing_is_no_guess(signs: Signs, candidates: str) -> None:
    with pytest.raises(InputError, match=f"--conv-mode auto takes .* such as .*{candidates}") as refusal:
        own_template(signs)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("given", "own", "why"),
    [
        ("vicuna_v1", "qwen_1_5", "answers end with '<|im_end|>' there, not with '</s>'"),
        ("llava_v0", "vicuna_v1", "answers end with '</s>' there, not with '###'"),
        ("vicuna_v1", "mistral_instruct", "it writes turns in another way"),
        ("chatml_direct", "qwen_1_5", "it writes turns in another way"),
        ("llava_v1", "vicuna_v1", None),
        ("v1_mmtag", "vicuna_v1", None),
        ("mpt", "chatml_direct", None),
        ("qwen_2", "qwen_1_5", None),
    ],
)
def test_what_speaks_against_a_template(given: str, own: str, why: str | None) -> None:
    assert contradiction(given, own) == why
