"""A checkpoint written in transformers' layout is there what the original is here."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from conftest import PARITY, Load

from llava.conversation import conv_templates, get_conv_template
from llava.conversation_jinja import as_jinja
from llava.conversation_styles import SeparatorStyle
from llava.errors import InputError
from llava.hf.export import export
from llava.mm_utils import open_image, process_images, tokenizer_image_token

PICTURES = sorted((PARITY / "families" / "images").glob("*.png"))
# What has a processor without torchvision.
CHECKPOINTS = {"llava-tiny": "vicuna_v1", "families/mistral-next": "mistral_instruct", "families/ov-qwen": "qwen_1_5"}


@pytest.mark.parametrize("name", [*CHECKPOINTS, "families/llama3-next"])
@torch.inference_mode()
def test_transformers_gives_the_same_logits(name: str, load: Load, tmp_path: Path) -> None:
    loaded, mode = load(name), CHECKPOINTS.get(name, "llava_llama_3")
    export(loaded.model, loaded.tokenizer, get_conv_template(mode), str(tmp_path))
    theirs, info = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    named = json.loads((tmp_path / "preprocessor_config.json").read_text())["image_processor_type"]
    images = getattr(transformers, f"{named}Pil").from_pretrained(tmp_path)
    for path in PICTURES[:3]:
        picture = open_image(path)
        conversation = get_conv_template(mode)
        conversation.append_message(conversation.roles[0], "<image>\nWhat  is it?")
        conversation.append_message(conversation.roles[1], None)
        ids = tokenizer_image_token(conversation.get_prompt(), loaded.tokenizer, return_tensors="pt")[None]
        own = process_images([picture], loaded.processor, loaded.model.config)
        wanted = loaded.model(ids, images=own, image_sizes=[picture.size], logits_to_keep=3).logits
        said: Any = [{"type": "text", "text": "What  is it?"}, {"type": "image"}]
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": said}], tokenize=False, add_generation_prompt=True
        )
        seen = images(picture, return_tensors="pt")
        torch.testing.assert_close(seen["pixel_values"][0][: len(own[0])], own[0], atol=2e-6, rtol=0)
        count = len(theirs.model.get_image_features(**seen, return_dict=True).pooler_output[0])
        prompt = tokenizer(text.replace("<image>", "<image>" * count), add_special_tokens=False, return_tensors="pt")
        flat = prompt.input_ids[0].tolist()
        short = [
            token for at, token in enumerate(flat) if not (at and token == flat[at - 1] == theirs.config.image_token_id)
        ]
        expected = [theirs.config.image_token_id if token < 0 else token for token in ids[0].tolist()]
        assert short == expected[1:] if name == "families/llama3-next" else short == expected  # BOS once there
        if short == expected:
            got = theirs(**prompt, **seen, logits_to_keep=3).logits[..., : wanted.shape[-1]]
            torch.testing.assert_close(got, wanted, atol=3e-5, rtol=0)


@pytest.mark.parametrize("mode", [name for name, own in conv_templates.items() if not own.messages])
def test_a_chat_template_writes_the_conversation(mode: str, load: Load) -> None:
    template, tokenizer = get_conv_template(mode), load("llava-tiny").tokenizer
    if template.sep_style == SeparatorStyle.PLAIN:
        with pytest.raises(InputError, match="roles"):
            as_jinja(template, "<s>")
        return
    for turns in (["Hi\n"], ["What?", "A {dog}.", "And now"], ["a", "b", "c", "d", "'e'"]):
        for system in (None, "Be kind."):
            said = template.copy()
            if system is not None:
                said.set_system(system)
            listed: list[Any] = [] if system is None else [{"role": "system", "content": system}]
            for number, turn in enumerate(turns):
                parts = [{"type": "text", "text": turn}]
                shown = turn if number else f"<image>\n{turn}"
                said.append_message(said.roles[number % 2], shown)
                content = parts if number else [*parts, {"type": "image"}]
                listed.append({"role": ("user", "assistant")[number % 2], "content": content})
            said.append_message(said.roles[1], None)
            chat = as_jinja(template, "<s>")
            text = tokenizer.apply_chat_template(listed, chat_template=chat, tokenize=False, add_generation_prompt=True)
            assert text == "<s>" + said.get_prompt().removeprefix("<|begin_of_text|>"), system


def test_files_name_the_processor_and_no_path(load: Load, tmp_path: Path) -> None:
    loaded = load("llava-tiny")
    export(loaded.model, loaded.tokenizer, get_conv_template("vicuna_v1"), str(tmp_path / "a"))
    said = json.loads((tmp_path / "a" / "preprocessor_config.json").read_text())
    assert (said["image_processor_type"], said["do_pad"]) == ("LlavaImageProcessor", True)
    assert not any(str(PARITY) in file.read_text(errors="replace") for file in (tmp_path / "a").glob("*.json"))
    with pytest.raises(InputError, match="transformers' layout"):
        export(
            load("families/mpt").model, load("families/mpt").tokenizer, get_conv_template("mpt"), str(tmp_path / "b")
        )
