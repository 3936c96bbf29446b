"""What a conversation does with what is said: pictures in tuples, copies, plain dictionaries."""

import pytest
from talks import chat

from llava.conversation import Conversation, SeparatorStyle, conv_templates, get_conv_template
from llava.errors import InputError


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("vicuna_v1", "Be brief. USER: Q"),
        ("llava_v0", "Be brief.###Human: Q"),
        ("llava_llama_2", "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nQ"),
        ("mistral_instruct", "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nQ"),
        ("mpt", "<|im_start|>system\nBe brief.<|im_end|><|im_start|>user\nQ"),
        ("qwen_1_5", "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nQ"),
        ("mistral_zephyr", "<|system|>\nBe brief.</s><|user|>\nQ"),
        ("llava_llama_3", "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"),
    ],
)
def test_another_system_text_keeps_the_marks_around_it(name: str, head: str) -> None:
    conv = chat(name, "Q", None)
    conv.set_system("Be brief.")
    assert conv.get_prompt().startswith(head)


def test_only_the_one_shot_templates_start_with_an_exchange() -> None:
    for name, conv in conv_templates.items():
        assert conv.offset == len(conv.messages) == (2 if name in ("default", "v0") else 0)


@pytest.mark.parametrize(
    "name, said",
    [
        ("vicuna_v1", "USER: <image>\nQ ASSISTANT: A</s>USER: R ASSISTANT:"),
        ("v1_mmtag", "USER: <Image><image></Image> ASSISTANT: Received.</s>USER: Q ASSISTANT: A</s>USER: R ASSISTANT:"),
        (
            "v0_mmtag",
            "Human: <Image><image></Image>###Assistant: Received.###Human: Q###Assistant: A###Human: R###Assistant:",
        ),
    ],
)
def test_a_tuple_moves_the_image_to_the_front(name: str, said: str) -> None:
    conv = chat(name, ("Q\n<image>", "picture", "Default"), "A", ("R", "same picture", "Default"), None)
    assert conv.get_prompt() == conv.system + conv.sep + said
    assert conv.messages[0][1] == ("Q\n<image>", "picture", "Default"), "rendering must not change the conversation"


@pytest.mark.parametrize(
    ("text", "placed"),
    [
        ("Q", "<image>\nQ"),
        ("<image>\n<image>\nQ", "<image>\n<image>\nQ"),
        ("<image>\nand <image>\nQ", "<image>\nand <image>\nQ"),
        ("Q <image> <image>", "<image>\n<image>\nQ"),
    ],
)
def test_a_tuple_keeps_as_many_images_as_it_has(text: str, placed: str) -> None:
    said = (text, ["one", "two"], "Default")
    assert chat("qwen_1_5", said, None).get_prompt() == chat("qwen_1_5", placed, None).get_prompt()
    assert chat("v1_mmtag", said, None).get_prompt().count("<image>") == max(1, text.count("<image>"))


def test_a_copy_grows_alone() -> None:
    first = chat("v0", "Q", None)
    second = first.copy()
    second.messages[-1][-1] = "A"
    second.append_message("Human", "R")
    assert first.messages[2:] == [["Human", "Q"], ["Assistant", None]]
    assert second.messages[2:] == [["Human", "Q"], ["Assistant", "A"], ["Human", "R"]]
    assert len(conv_templates["v0"].messages) == 2


def test_dict_holds_texts_only() -> None:
    assert chat("mistral_instruct", ("Q", "picture"), None).dict() == {
        "system": "",
        "roles": ("USER", "ASSISTANT"),
        "messages": [["USER", "Q"], ["ASSISTANT", None]],
        "offset": 0,
        "sep": "",
        "sep2": "</s>",
    }


def test_the_strip_takes_a_set_of_characters() -> None:
    conv = Conversation("", ("U", "A"), [["U", "Q"]], sep_style=SeparatorStyle.LLAMA_2, sep="[I", sep2="</s>")
    assert conv.get_prompt() == "NST] Q [/INST]"


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(InputError, match=r"'vicuna_v2'.*chatml_direct.*vicuna_v1"):
        get_conv_template("vicuna_v2")


def test_plain_holds_one_message() -> None:
    with pytest.raises(InputError, match="PLAIN without sep2"):
        chat("plain", "<image>", "a caption").get_prompt()
