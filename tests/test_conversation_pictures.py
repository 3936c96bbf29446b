"""Pictures of a conversation, as LLaVA's chat page sends them to a worker and shows them to a person."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

import llava.conversation as conversation
from llava.conversation import Conversation, SeparatorStyle, conv_templates, default_conversation, get_conv_template
from llava.errors import InputError


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Noise, the same every time."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 4), dtype=np.uint8)
    return Image.fromarray(noise, "RGBA").convert(mode)


def asked(*messages: object) -> Conversation:
    """A conversation in which user and assistant said these in turn."""
    conv = get_conv_template("vicuna_v1")
    for at, message in enumerate(messages):
        conv.append_message(conv.roles[at % 2], message)
    return conv


def decoded(text: str) -> Image.Image:
    """The picture of a base64 text."""
    return Image.open(io.BytesIO(base64.b64decode(text)))


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((1344, 1344), (1344, 1344)),  # no side is too long
        ((1345, 20), (1277, 19)),  # 1344 / 67.25 = 19.98, rounded down and then stretched again
        ((2000, 1000), (1344, 672)),
        ((1000, 2000), (672, 1344)),
        ((1400, 1400), (672, 672)),  # the shorter side's limit comes first
        ((1500, 500), (1344, 448)),
        ((3000, 10), (1200, 4)),
        ((3000, 1), (1344, 1)),  # LLaVA's arithmetic gives no pixel at all here
        ((1, 3000), (1, 1344)),
    ],
)
def test_large_pictures_are_made_smaller(size: tuple[int, int], shown: tuple[int, int]) -> None:
    result = default_conversation.process_image(picture(*size), "Default", return_pil=True)
    assert isinstance(result, Image.Image) and result.size == shown


def test_limits_can_be_given() -> None:
    result = default_conversation.process_image(picture(600, 300), "Crop", True, "PNG", 400, 100)
    assert isinstance(result, Image.Image) and result.size == (200, 100)


def test_modes() -> None:
    image = picture(40, 30)
    for mode in ("Default", "Crop"):
        assert default_conversation.process_image(image, mode, return_pil=True) is image
    resized = default_conversation.process_image(image, "Resize", return_pil=True)
    assert isinstance(resized, Image.Image) and resized.tobytes() == image.resize((336, 336)).tobytes()
    padded = default_conversation.process_image(image, "Pad", return_pil=True)
    assert isinstance(padded, Image.Image) and padded.size == (40, 40)
    assert padded.getpixel((0, 4)) == padded.getpixel((39, 35)) == (122, 116, 104)
    assert padded.crop((0, 5, 40, 35)).tobytes() == image.tobytes()
    with pytest.raises(InputError, match="image_process_mode must be one of Default, Crop, Pad, Resize: got 'pad'"):
        default_conversation.process_image(image, "pad")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "LA", "CMYK", "1"])
def test_every_kind_of_picture_can_be_padded_and_shown(mode: str) -> None:
    conv = asked(("<image>\nQ", picture(9, 7, mode), "Pad"), None)
    [padded] = conv.get_images(return_pil=True)
    assert padded.mode == "RGB" and padded.size == (9, 9)
    [[shown, answer]] = conv.to_gradio_chatbot()
    assert "data:image/jpeg;base64," in shown and answer is None


def test_pictures_of_the_user_in_their_order() -> None:
    first, second = picture(12, 8), picture(8, 12, "RGBA")
    conv = asked(("Q\n<image>", first, "Default"), "A", ("R", second, "Resize"), "B", "S", None)
    sent = conv.get_images()
    assert [decoded(text).format for text in sent] == ["PNG", "PNG"]
    assert decoded(sent[0]).tobytes() == first.tobytes() and decoded(sent[1]).size == (336, 336)
    assert conv.get_images(return_pil=True)[0] is first
    assert asked("Q", "A").get_images() == []


def test_the_page_shows_a_picture_before_its_text() -> None:
    conv = asked(("<image>\n What is it? ", picture(12, 8), "Pad"), "A cat.", "Sure?", None)
    (first, second), (third, fourth) = conv.to_gradio_chatbot()
    head, _, rest = first.partition("base64,")
    data, _, text = rest.partition('"')
    assert head == '<img src="data:image/jpeg;' and text.partition(">")[2] == "What is it?"
    assert decoded(data).format == "JPEG" and decoded(data).size == (12, 8), "the page shows what was uploaded"
    assert (second, third, fourth) == ("A cat.", "Sure?", None)
    assert get_conv_template("v0").to_gradio_chatbot() == [], "a template's own example is not shown"
    with_example = get_conv_template("v0")
    with_example.append_message("Human", "Q")
    assert with_example.to_gradio_chatbot() == [["Q", None]]


def test_dict_leaves_pictures_out() -> None:
    conv = asked(("Q", picture(3, 3), "Pad"), None)
    assert conv.dict()["messages"] == [["USER", "Q"], ["ASSISTANT", None]]


def test_styles_have_llavas_numbers() -> None:
    assert [(style.name, style.value) for style in SeparatorStyle] == [
        ("SINGLE", 1),
        ("TWO", 2),
        ("MPT", 3),
        ("PLAIN", 4),
        ("LLAMA_2", 5),
        ("CHATML", 6),
        ("LLAMA_3", 7),
    ]


VARIABLES = {
    "conv_vicuna_v0": ["default", "v0"],
    "conv_vicuna_v1": ["v1", "vicuna_v1"],
    "conv_llama_2": ["llama_2"],
    "conv_llava_llama_2": ["llava_llama_2"],
    "conv_mpt": ["mpt"],
    "conv_llava_plain": ["plain", "v0_plain"],
    "conv_llava_v0": ["llava_v0"],
    "conv_llava_v0_mmtag": ["v0_mmtag", "llava_v0_mmtag"],
    "conv_llava_v1": ["llava_v1"],
    "conv_llava_v1_mmtag": ["v1_mmtag", "llava_v1_mmtag"],
    "conv_llava_llama_2_simple": ["llava_llama_2_simple"],
    "conv_llava_llama_2_mmtag": ["llava_llama_2_mmtag"],
    "conv_llava_llama_3": ["llama_3", "llava_llama_3"],
    "conv_mistral_instruct": ["mistral_instruct", "llava_mistral_instruct"],
    "conv_mistral_orca": ["mistral_orca"],
    "conv_mistral_zephyr": ["mistral_zephyr"],
    "conv_qwen": ["qwen_1_5", "qwen_2"],
    "conv_chatml_direct": ["chatml_direct", "mistral_direct"],
}


def test_every_template_is_a_variable_too() -> None:
    for variable, names in VARIABLES.items():
        assert all(conv_templates[name] is getattr(conversation, variable) for name in names), variable
    assert sorted(name for names in VARIABLES.values() for name in names) == sorted(conv_templates)
    assert default_conversation is conversation.conv_vicuna_v1
