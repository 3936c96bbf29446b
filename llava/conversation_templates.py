"""The conversation templates of LLaVA as data: what each `--conv-mode` says around the user's words.

The texts are what the checkpoints were trained with, odd spacing included. The one exception is the example exchange
of `default` and `v0`: its words are this project's own (see EXAMPLE). How a row becomes a prompt is in `conversation`.
"""

from typing import NamedTuple


class Template(NamedTuple):
    """One row: `style` names a SeparatorStyle; `example` holds the (role, text) turns a conversation starts with."""

    system: str
    roles: tuple[str, str]
    style: str
    sep: str
    sep2: str | None = None
    version: str = "Unknown"
    example: tuple[tuple[str, str], ...] = ()


SYSTEM_USER = (
    "A chat between a curious user and an artificial intelligence assistant."
    " The assistant gives helpful, detailed, and polite answers to the user's questions."
)
SYSTEM_HUMAN = SYSTEM_USER.replace("user", "human")
# No space after "language.": the checkpoints were trained that way.
SYSTEM_MMTAG = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant is able to understand the"
    " visual content that the user provides, and assist the user with a variety of tasks using natural language."
    "The visual content will be provided with the following format: <Image>visual content</Image>."
)
SYSTEM_VISION = (
    "You are a helpful language and vision assistant. You are able to understand the visual content that the user"
    " provides, and assist the user with a variety of tasks using natural language."
)
# Two spaces after "safe.", as in the text published with Llama 2.
SYSTEM_LLAMA_2 = (
    "You are a helpful, respectful and honest assistant. Always answer as helpfully as possible, while being safe. "
    " Your answers should not include any harmful, unethical, racist, sexist, toxic, dangerous, or illegal content."
    " Please ensure that your responses are socially unbiased and positive in nature.\n\n"
    "If a question does not make any sense, or is not factually coherent, explain why instead of answering something"
    " not correct. If you don't know the answer to a question, please don't share false information."
)
SYSTEM_MPT = (
    "<|im_start|>system\nA conversation between a user and an LLM-based AI assistant."
    " The assistant gives helpful and honest answers."
)
SYSTEM_DIRECT = "<|im_start|>system\nAnswer the questions."
SYSTEM_QWEN = "<|im_start|>system\nYou are a helpful assistant."
# LLaVA-NeXT's further ones for LLaMA 2 and Mistral; again no space after "provides.".
SYSTEM_SIMPLE = "Answer the questions about the visual content that the user provides."
SYSTEM_SIMPLE_MMTAG = (
    SYSTEM_SIMPLE + "The visual content will be provided with the following format: <Image>visual content</Image>."
)
SYSTEM_ORCA = (
    "<|im_start|>system\nYou are MistralOrca, a large language model trained by Alignment Lab AI. Write out your"
    " reasoning step-by-step to be sure you get the right answers!"
)
SYSTEM_ZEPHYR = "<|system|>\nYou are a helpful AI assistant."

# Same subject, roles and number of turns as in LLaVA, in our own words: a prompt rendered with `default` or `v0`
# therefore is not LLaVA's to the letter. No checkpoint of the v1 family or later is used with these two.
_LESSON = (
    "Sun, wind, water and the heat of the earth renew themselves as fast as we use them; coal, oil and gas took"
    " millions of years to form and run out. The first group costs more to build, little to run and hardly pollutes;"
    " the second delivers at any hour, but its fumes warm the climate and harm health.\n"
)
EXAMPLE = (
    ("Human", "How do renewable sources of energy differ from non-renewable ones?"),
    ("Assistant", _LESSON),
)

UPPER = ("USER", "ASSISTANT")
TITLE = ("Human", "Assistant")
LOWER = ("user", "assistant")
CHATML = ("<|im_start|>user\n", "<|im_start|>assistant\n")

_V0 = Template(SYSTEM_HUMAN, TITLE, "SINGLE", "###", example=EXAMPLE)
_V1 = Template(SYSTEM_USER, UPPER, "TWO", " ", "</s>", "v1")
_PLAIN = Template("", ("", ""), "PLAIN", "\n")
_V0_MMTAG = Template(SYSTEM_MMTAG, TITLE, "SINGLE", "###", version="v0_mmtag")
_V1_MMTAG = Template(SYSTEM_MMTAG, UPPER, "TWO", " ", "</s>", "v1_mmtag")
_MISTRAL = Template("", UPPER, "LLAMA_2", "", "</s>", "llama_v2")
_DIRECT = Template(SYSTEM_DIRECT, CHATML, "MPT", "<|im_end|>", version="mpt")
_LLAMA_3 = Template(SYSTEM_VISION, LOWER, "LLAMA_3", "<|eot_id|>", version="llama_v3")
_QWEN = Template(SYSTEM_QWEN, ("<|im_start|>user", "<|im_start|>assistant"), "CHATML", "<|im_end|>", version="qwen")

TEMPLATES: dict[str, Template] = {
    "default": _V0,
    "v0": _V0,
    "v1": _V1,
    "vicuna_v1": _V1,
    "llama_2": Template(SYSTEM_LLAMA_2, UPPER, "LLAMA_2", "<s>", "</s>", "llama_v2"),
    "llama_3": _LLAMA_3,
    "mistral_instruct": _MISTRAL,
    "mistral_direct": _DIRECT,
    "mistral_orca": Template(SYSTEM_ORCA, CHATML, "MPT", "<|im_end|>", version="mpt"),
    "mistral_zephyr": Template(SYSTEM_ZEPHYR, ("<|user|>\n", "<|assistant|>\n"), "MPT", "</s>", version="mpt"),
    "chatml_direct": _DIRECT,
    "qwen_1_5": _QWEN,
    "qwen_2": _QWEN,
    "plain": _PLAIN,
    "v0_plain": _PLAIN,
    "llava_v0": Template(SYSTEM_HUMAN, TITLE, "SINGLE", "###"),
    "v0_mmtag": _V0_MMTAG,
    "llava_v0_mmtag": _V0_MMTAG,
    "llava_v1": Template(SYSTEM_HUMAN, UPPER, "TWO", " ", "</s>", "v1"),
    "v1_mmtag": _V1_MMTAG,
    "llava_v1_mmtag": _V1_MMTAG,
    "llava_llama_2": Template(SYSTEM_VISION, UPPER, "LLAMA_2", "<s>", "</s>", "llama_v2"),
    "llava_llama_2_simple": Template(SYSTEM_SIMPLE, UPPER, "LLAMA_2", "<s>", "</s>", "llama_v2"),
    "llava_llama_2_mmtag": Template(SYSTEM_SIMPLE_MMTAG, UPPER, "LLAMA_2", "<s>", "</s>", "llama_v2_mmtag"),
    "llava_llama_3": _LLAMA_3,
    "llava_mistral_instruct": _MISTRAL,
    "mpt": Template(SYSTEM_MPT, CHATML, "MPT", "<|im_end|>", version="mpt"),
}
