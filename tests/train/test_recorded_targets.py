"""Ids and targets of conversations: with official masking LLaVA's in every recorded row, else whole answers."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from llava.conversation import SeparatorStyle
from llava.model.tokenizer import LlamaTokenizer
from llava.train.data.encoding import Encoded, Encoder
from llava.train.data.template import training_template

PARITY = Path(__file__).parents[1] / "parity"
FOLDERS = {
    "llava-tiny": PARITY / "llava-tiny",
    "llava-shapes": PARITY / "tokenizers/llava-shapes",
    "mistral-7b-v0.1": PARITY / "tokenizers/mistral",
}
FILES = ("llava_tiny", "llava_shapes", "mistral", "im_start_end", "not_legacy", "other_templates")


@cache
def rows(name: str) -> tuple[dict[str, Any], ...]:
    """The recorded conversations whose vocabulary is here."""
    recorded = json.loads((PARITY / f"training/labels_{name}.json").read_text())
    return tuple(row for row in recorded if row["tokenizer"] in FOLDERS)


@cache
def tokenizer(name: str, legacy: bool, longest: int, marked: bool) -> LlamaTokenizer:
    made = LlamaTokenizer.from_pretrained(
        FOLDERS[name], legacy=legacy, padding_side="right", model_max_length=longest, pad_token="<unk>"
    )
    if marked:
        made.add_tokens(["<im_start>", "<im_end>"], special_tokens=True)
    return made


def encoded(row: dict[str, Any], official: bool) -> Encoded:
    marked = row["mm_use_im_start_end"]
    own = tokenizer(row["tokenizer"], row["legacy"], row["model_max_length"], marked)
    encoder = Encoder(training_template(row["template"]), own, marked, official)
    return encoder(row["conversations"], row["has_image"])


@pytest.mark.parametrize("name", FILES)
def test_official_masking_gives_every_recorded_row(name: str) -> None:
    assert rows(name)
    for row in rows(name):
        if "error" in row:
            continue
        made = encoded(row, official=True)
        assert made.input_ids == row["input_ids"], row["case"]
        assert made.labels == row["labels"], row["case"]


@pytest.mark.parametrize("name", FILES)
def test_answers_and_end_marks_are_trained_on_where_official_masking_trains(name: str) -> None:
    """Under v1, llama_2 and plain the same targets as LLaVA's, except where those lose a sample or a colon slips in."""
    compared = 0
    for row in rows(name):
        conv = training_template(row["template"])
        if "error" in row or conv.sep_style not in (SeparatorStyle.TWO, SeparatorStyle.LLAMA_2, SeparatorStyle.PLAIN):
            continue
        made = encoded(row, official=False)
        theirs = [-100 if label < 0 else label for label in row["labels"]]
        if name == "llava_shapes":  # its vocabulary has no mark for the space that LLaVA's count expects
            theirs = [-100 if row["input_ids"][at] == 610 else label for at, label in enumerate(theirs)]
        if made.input_ids == row["input_ids"] and any(label != -100 for label in theirs):
            assert made.labels == theirs, row["case"]
            compared += 1
    assert compared >= 4
