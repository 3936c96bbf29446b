"""Where the image stands in a conversation of training: LLaVA moves it to the front of its message."""

from llava.constants import DEFAULT_IM_END_TOKEN, DEFAULT_IM_START_TOKEN, DEFAULT_IMAGE_TOKEN
from llava.conversation import Conversation

Message = dict[str, str]  # {"from": "human" or "gpt", "value": text}


def place_images(
    messages: list[Message], conv: Conversation, start_end: bool = False, several: bool = True
) -> list[Message]:
    """The messages of an image sample with their <image> in front (LLaVA's `preprocess_multimodal`).

    A message that names an image loses every <image>, is stripped, and begins with <image> and a line feed; a message
    that names k images keeps k of them, one per line, in front. Other messages stay as they are, white space included.

    Args:
        conv: the template; one with "mmtag" in its version writes <Image><image></Image>.
        start_end: `mm_use_im_start_end`: <image> is written between <im_start> and <im_end>.
        several: as said; False: one <image> is left of several in a message, as in LLaVA.
    """
    return [message | {"value": _placed(message["value"], conv, start_end, several)} for message in messages]


def _placed(text: str, conv: Conversation, start_end: bool, several: bool) -> str:
    count = text.count(DEFAULT_IMAGE_TOKEN)
    if count:
        count = count if several else 1
        words = text.replace(DEFAULT_IMAGE_TOKEN, "").strip()
        text = (f"{DEFAULT_IMAGE_TOKEN}\n" * count + words).strip()
        if "mmtag" in conv.version:
            text = text.replace(DEFAULT_IMAGE_TOKEN, f"<Image>{DEFAULT_IMAGE_TOKEN}</Image>")
    if start_end:
        text = text.replace(DEFAULT_IMAGE_TOKEN, DEFAULT_IM_START_TOKEN + DEFAULT_IMAGE_TOKEN + DEFAULT_IM_END_TOKEN)
    return text
