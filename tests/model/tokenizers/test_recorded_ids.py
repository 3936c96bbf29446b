"""Ids of whole conversations, recorded from LLaVA's own training code: every row, with every vocabulary we may ship."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from llava.conversation import get_conv_template
from llava.mm_utils import tokenizer_image_token
from llava.model.tokenizer import LlamaTokenizer

PARITY = Path(__file__).parents[2] / "parity"
FOLDERS = {
    "llava-tiny": PARITY / "llava-tiny",
    "llava-shapes": PARITY / "tokenizers/llava-shapes",
    "mistral-7b-v0.1": PARITY / "tokenizers/mistral",
}
NAMES = {"human": "user", "gpt": "assistant"}
# Rows with ids of each file; the others record a refusal. LLaMA's own vocabulary is not ours to ship.
ROWS = {
    "llava_tiny": 137,
    "llava_shapes": 17,
    "mistral": 37,
    "im_start_end": 19,
    "not_legacy": 31,
    "other_templates": 54,
}


def rows(name: str) -> list[dict[str, Any]]:
    """The recorded conversations of a file that have ids, and whose vocabulary is here."""
    recorded = json.loads((PARITY / f"training/labels_{name}.json").read_text())
    return [row for row in recorded if "input_ids" in row and row["tokenizer"] in FOLDERS]


@cache
def tokenizer(name: str, legacy: bool, marked: bool) -> LlamaTokenizer:
    """The tokenizer of a row, with LLaVA's two tokens around an image where the row has them."""
    made = LlamaTokenizer.from_pretrained(FOLDERS[name], legacy=legacy, padding_side="right")
    if marked:
        made.add_tokens(["<im_start>", "<im_end>"], special_tokens=True)
    return made


def prompt(row: dict[str, Any]) -> str:
    """The text of a row as LLaVA's training writes it: by its template, but for pretraining and the oldest style."""
    speakers = [part["from"] for part in row["conversations"]]
    messages = row["after_multimodal"] or [part["value"] for part in row["conversations"]]
    if row["template"] == "plain":
        return f"<image>{messages[1]}\n"
    talk = get_conv_template(row["template"])
    role = dict(zip(("human", "gpt"), talk.roles))
    if "v0" in row["template"]:
        said = "".join(f"### {role[speaker]}: {text}\n" for speaker, text in zip(speakers, messages))
        return f"{talk.system}\n\n{said}### "
    first = 0 if speakers[0] == "human" else 1  # a conversation begins with a question
    for speaker, text in zip(speakers[first:], messages[first:]):
        talk.append_message(role[speaker], text)
    return talk.get_prompt()


@pytest.mark.parametrize("name", ROWS)
def test_ids_of_conversations(name: str) -> None:
    found = rows(name)
    assert len(found) == ROWS[name]
    for row in found:
        made, text = tokenizer(row["tokenizer"], row["legacy"], row["mm_use_im_start_end"]), prompt(row)
        if row["has_image"] or row["template"] == "plain":
            ids = tokenizer_image_token(text, made)
        else:
            ids = made(text, truncation=True, max_length=row["model_max_length"]).input_ids
        assert ids == row["input_ids"], (row["case"], row["template"])


def test_ids_of_llama_3_conversations_with_added_tokens() -> None:
    made = LlamaTokenizer.from_pretrained(FOLDERS["llava-tiny"])
    made.add_tokens(["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"], special_tokens=True)
    recorded = json.loads((PARITY / "training/labels_llama3_rule.json").read_text())
    assert len(recorded) == 6
    for row in recorded:
        turns = [("system", "You are a helpful assistant.")]
        turns += [(NAMES[part["from"]], part["value"]) for part in row["conversations"]]
        text = "".join(f"<|start_header_id|>{name}<|end_header_id|>\n\n{said}<|eot_id|>" for name, said in turns)
        assert tokenizer_image_token(text, made) == row["input_ids"]
