"""A reduced model in transformers' own pipeline."""

import pytest
import torch
import transformers
from PIL import Image
from tiny_hf import MODELS, PICTURE
from tokenizers import AddedToken, Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel

import llava.hf

CHAT = """{% for message in messages %}{% for part in message["content"] %}{% if part["type"] == "image" %}<image> \
{% else %}{{ part["text"] }} {% endif %}{% endfor %}{% endfor %}"""


def processor() -> transformers.LlavaProcessor:
    """Words w0 to w95 by their numbers; pictures of 84 x 84 pixels."""
    words = {"<image>" if number == PICTURE else f"w{number}": number for number in range(96)}
    made = Tokenizer(WordLevel(words, unk_token="w5"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens([AddedToken("<image>", special=True)])
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=made, pad_token="w0", padding_side="left")
    edge = {"height": 84, "width": 84}
    eyes = transformers.CLIPImageProcessor(size={"shortest_edge": 84}, crop_size=edge)
    sizes = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return transformers.LlavaProcessor(eyes, tokenizer, chat_template=CHAT, **sizes)


@pytest.mark.parametrize(("method", "settings"), [("none", {}), ("visiondrop", {"retain": 0.3})])
def test_image_text_to_text(method: str, settings: dict[str, float]) -> None:
    reduced, own = llava.hf.reduce(MODELS["llava"](), method, **settings), processor()
    pipe = transformers.pipeline("image-text-to-text", model=reduced, processor=own)
    picture = Image.new("RGB", (120, 90), (200, 30, 40))
    content = [{"type": "image", "image": picture}, {"type": "text", "text": "w8 w9"}]
    greedy = {"max_new_tokens": 5, "do_sample": False}
    [answer] = pipe(text=[{"role": "user", "content": content}], generate_kwargs=greedy)
    given = own(images=picture, text="<image> w8 w9", return_tensors="pt")
    wanted = reduced.generate(**given, max_new_tokens=5, do_sample=False)[0, -5:]
    words = answer["generated_text"][-1]["content"].split()
    assert torch.equal(torch.tensor([int(word[1:]) for word in words]), wanted)
