"""Every template's prompt, letter for letter: the checkpoints know no other."""

import pytest
from talks import chat

from llava.conversation import conv_templates, default_conversation
from llava.conversation_templates import EXAMPLE

USER = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
HUMAN = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)
MMTAG = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant is able to understand the visual content that the user provides, "
    "and assist the user with a variety of tasks using natural language."
    "The visual content will be provided with the following format: <Image>visual content</Image>."
)
VISION = (
    "You are a helpful language and vision assistant. "
    "You are able to understand the visual content that the user provides, "
    "and assist the user with a variety of tasks using natural language."
)
LLAMA_2 = (
    "You are a helpful, respectful and honest assistant. "
    "Always answer as helpfully as possible, while being safe.  "
    "Your answers should not include any harmful, unethical, racist, sexist, toxic, dangerous, or illegal content. "
    "Please ensure that your responses are socially unbiased and positive in nature.\n\n"
    "If a question does not make any sense, or is not factually coherent, "
    "explain why instead of answering something not correct. "
    "If you don't know the answer to a question, please don't share false information."
)
CHAT = "A conversation between a user and an LLM-based AI assistant. The assistant gives helpful and honest answers."
SIMPLE = "Answer the questions about the visual content that the user provides."
SIMPLE_MMTAG = SIMPLE + "The visual content will be provided with the following format: <Image>visual content</Image>."
ORCA = (
    "You are MistralOrca, a large language model trained by Alignment Lab AI. "
    "Write out your reasoning step-by-step to be sure you get the right answers!"
)
SHOT = f"###Human: {EXAMPLE[0][1]}###Assistant: {EXAMPLE[1][1]}###Human: "

# One question, waiting for its answer; then the same after the answer "A" and a second question "R".
ONE = {
    "v1": f"{USER} USER: <image>\nQ ASSISTANT:",
    "llava_v1": f"{HUMAN} USER: <image>\nQ ASSISTANT:",
    "v1_mmtag": f"{MMTAG} USER: <image>\nQ ASSISTANT:",
    "llava_v0": f"{HUMAN}###Human: <image>\nQ###Assistant:",
    "v0_mmtag": f"{MMTAG}###Human: <image>\nQ###Assistant:",
    "v0": f"{HUMAN}{SHOT}<image>\nQ###Assistant:",
    "plain": "<image>\nQ\n",
    "llava_llama_2": f"[INST] <<SYS>>\n{VISION}\n<</SYS>>\n\n<image>\nQ [/INST]",
    "llama_2": f"[INST] <<SYS>>\n{LLAMA_2}\n<</SYS>>\n\n<image>\nQ [/INST]",
    "mistral_instruct": "[INST] <image>\nQ [/INST]",
    "mpt": f"<|im_start|>system\n{CHAT}<|im_end|><|im_start|>user\n<image>\nQ<|im_end|><|im_start|>assistant\n",
    "chatml_direct": "<|im_start|>system\nAnswer the questions.<|im_end|>"
    "<|im_start|>user\n<image>\nQ<|im_end|><|im_start|>assistant\n",
    "qwen_1_5": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n<image>\nQ<|im_end|>\n<|im_start|>assistant\n",
    "llava_llama_3": f"<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n{VISION}<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n<image>\nQ<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "llava_llama_2_simple": f"[INST] <<SYS>>\n{SIMPLE}\n<</SYS>>\n\n<image>\nQ [/INST]",
    "llava_llama_2_mmtag": f"[INST] <<SYS>>\n{SIMPLE_MMTAG}\n<</SYS>>\n\n<image>\nQ [/INST]",
    "mistral_orca": f"<|im_start|>system\n{ORCA}<|im_end|>"
    "<|im_start|>user\n<image>\nQ<|im_end|><|im_start|>assistant\n",
    "mistral_zephyr": "<|system|>\nYou are a helpful AI assistant.</s><|user|>\n<image>\nQ</s><|assistant|>\n",
}
MORE = {
    "v1": " A</s>USER: R ASSISTANT:",
    "llava_v1": " A</s>USER: R ASSISTANT:",
    "v1_mmtag": " A</s>USER: R ASSISTANT:",
    "llava_v0": " A###Human: R###Assistant:",
    "v0_mmtag": " A###Human: R###Assistant:",
    "v0": " A###Human: R###Assistant:",
    "llava_llama_2": " A </s><s>[INST] R [/INST]",
    "llama_2": " A </s><s>[INST] R [/INST]",
    "mistral_instruct": " A </s>[INST] R [/INST]",
    "mpt": "A<|im_end|><|im_start|>user\nR<|im_end|><|im_start|>assistant\n",
    "chatml_direct": "A<|im_end|><|im_start|>user\nR<|im_end|><|im_start|>assistant\n",
    "qwen_1_5": "A<|im_end|>\n<|im_start|>user\nR<|im_end|>\n<|im_start|>assistant\n",
    "llava_llama_3": "A<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nR<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "llava_llama_2_simple": " A </s><s>[INST] R [/INST]",
    "llava_llama_2_mmtag": " A </s><s>[INST] R [/INST]",
    "mistral_orca": "A<|im_end|><|im_start|>user\nR<|im_end|><|im_start|>assistant\n",
    "mistral_zephyr": "A</s><|user|>\nR</s><|assistant|>\n",
}
SAME = {
    **{"vicuna_v1": "v1", "default": "v0", "v0_plain": "plain", "mistral_direct": "chatml_direct"},
    **{"llava_v0_mmtag": "v0_mmtag", "llava_v1_mmtag": "v1_mmtag", "llava_mistral_instruct": "mistral_instruct"},
    **{"llama_3": "llava_llama_3", "qwen_2": "qwen_1_5"},
}
END_MARKS = {
    **dict.fromkeys(("v1", "llava_v1", "v1_mmtag", "llava_llama_2", "llama_2", "mistral_instruct"), "</s>"),
    **dict.fromkeys(("llava_llama_2_simple", "llava_llama_2_mmtag", "mistral_zephyr"), "</s>"),
    **dict.fromkeys(("llava_v0", "v0_mmtag", "v0"), "###"),
    **dict.fromkeys(("mpt", "chatml_direct", "qwen_1_5", "mistral_orca"), "<|im_end|>"),
    **{"llava_llama_3": "<|eot_id|>", "plain": "\n"},
}


def test_table_is_complete() -> None:
    assert set(conv_templates) == set(ONE) | set(SAME)


@pytest.mark.parametrize("name", sorted(conv_templates))
def test_one_question(name: str) -> None:
    assert chat(name, "<image>\nQ", None).get_prompt() == ONE[SAME.get(name, name)]


@pytest.mark.parametrize("name", sorted(set(conv_templates) - {"plain", "v0_plain"}))
def test_second_question(name: str) -> None:
    key = SAME.get(name, name)
    assert chat(name, "<image>\nQ", "A", "R", None).get_prompt() == ONE[key] + MORE[key]


def test_vicuna_v1_in_full() -> None:
    question = "<image>\nIs it overcast?\nAnswer the question using a single word or phrase."
    assert chat("vicuna_v1", question, "").get_prompt() == (
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed,"
        " and polite answers to the user's questions. USER: <image>\nIs it overcast?\nAnswer the question using a"
        " single word or phrase. ASSISTANT:"
    )
    assert default_conversation == conv_templates["vicuna_v1"]


@pytest.mark.parametrize(
    "name, version",
    [
        ("v0", "Unknown"),
        ("llava_v0", "Unknown"),
        ("plain", "Unknown"),
        ("v1", "v1"),
        ("llava_v1", "v1"),
        ("v0_mmtag", "v0_mmtag"),
        ("v1_mmtag", "v1_mmtag"),
        ("llama_2", "llama_v2"),
        ("llava_llama_2", "llama_v2"),
        ("mistral_instruct", "llama_v2"),
        ("mpt", "mpt"),
        ("mistral_direct", "mpt"),
        ("qwen_2", "qwen"),
        ("llama_3", "llama_v3"),
        ("llava_llama_2_mmtag", "llama_v2_mmtag"),
    ],
)
def test_versions(name: str, version: str) -> None:
    assert conv_templates[name].version == version


@pytest.mark.parametrize("name", sorted(conv_templates))
def test_end_marks(name: str) -> None:
    assert conv_templates[name].end_mark == END_MARKS[SAME.get(name, name)]


def test_llama_3_trims_what_is_said() -> None:
    wanted = chat("llama_3", "<image>\nQ", "A", "R", None).get_prompt()
    assert chat("llama_3", " <image>\nQ \n", "\nA", " R", "").get_prompt() == wanted
