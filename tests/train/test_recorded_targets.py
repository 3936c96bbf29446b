"""Ids and targets of conversations: with official masking LLaVA's in every recorded row, else whole answers."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from llava.conversation import Conversation, SeparatorStyle, conv_templates
from llava.errors import InputError
from llava.model.tokenizer import LlamaTokenizer, load_tokenizer
from llava.train.data.dataset import DataCollatorForSupervisedDataset
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


@pytest.mark.parametrize("name", FILES)
def test_what_official_masking_loses_is_trained_on_by_its_answers(name: str) -> None:
    """Answers that hold an end mark, a role or <unk>, a last answer that is empty, and mpt's rule, which never fits."""
    lost = 0
    for row in rows(name):
        conv = training_template(row["template"])
        if "error" in row or any(label >= 0 for label in row["labels"]) or conv.sep_style is SeparatorStyle.PLAIN:
            continue
        messages = row["conversations"][row["conversations"][0]["from"] == "gpt" :]
        answers = [message["value"] for message in messages if message["from"] == "gpt" and message["value"]]
        own = encoded(row, official=False)
        if len(own.input_ids) == row["model_max_length"] and not row["has_image"]:
            continue  # what was cut off may be the answers
        marked = tokenizer(row["tokenizer"], row["legacy"], row["model_max_length"], row["mm_use_im_start_end"])
        text = marked.decode([label for label in own.labels if label >= 0], skip_special_tokens=False)
        text = letters(text)
        for answer in answers:
            wanted = letters(answer.replace("<image>", ""))
            assert wanted in text, (row["case"], row["template"])
            text = text.replace(wanted, "", 1)
        end = conv.sep2 if conv.sep_style in (SeparatorStyle.TWO, SeparatorStyle.LLAMA_2) else conv.sep
        left = text.replace(letters(end or ""), "").replace("<im_start><im_end>", "")
        assert left.strip("#") == "", (row["case"], row["template"], left)
        lost += bool(answers)
    assert lost or name in ("llava_shapes", "im_start_end")


def letters(text: str) -> str:
    """A text without its white space."""
    return "".join(text.split())


ROLE = "<|start_header_id|>{}<|end_header_id|>\n\n"
# As it was recorded: PyramidDrop's repository has the rule and no template of its version.
LLAMA_3 = Conversation(
    system=ROLE.format("system") + "You are a helpful assistant.",
    roles=(ROLE.format("user"), ROLE.format("assistant")),
    messages=[],
    offset=0,
    sep_style=SeparatorStyle.MPT,
    sep="<|eot_id|>",
    version="llama_v3",
)


@pytest.mark.parametrize("official", [True, False])
def test_llama_3_rows(official: bool) -> None:
    """PyramidDrop's rule counts right here: its targets are the answers and their end marks, as ours are."""
    made = LlamaTokenizer.from_pretrained(FOLDERS["llava-tiny"], padding_side="right", model_max_length=2048)
    made.add_tokens(["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"], special_tokens=True)
    made.pad_token = made.unk_token
    recorded = json.loads((PARITY / "training/labels_llama3_rule.json").read_text())
    assert len(recorded) == 6
    for row in recorded:
        own = Encoder(LLAMA_3, made, official=official)(row["conversations"], row["image"])
        assert own.input_ids == row["input_ids"] and own.labels == row["labels"]


@pytest.mark.parametrize("version", ["chatml_direct", "llava_llama_3", "qwen_1_5", "v1", "plain", "default", "mpt"])
def test_official_masking_is_for_templates_that_it_was_written_for(version: str) -> None:
    made, conv = tokenizer("llava-tiny", True, 2048, False), training_template(version)
    if version in ("llava_llama_3", "qwen_1_5"):
        with pytest.raises(InputError, match="--official_masking needs a template"):
            Encoder(conv, made, official=True)
    else:
        Encoder(conv, made, official=True)
    Encoder(conv, made)


@pytest.mark.parametrize("has_image", [False, True])
def test_v0_counts_no_pad_id_of_a_text(has_image: bool) -> None:
    """LLaVA measures the messages of a text by their ids that are not the pad id, and those of a picture by all."""
    made, conv = tokenizer("llava-tiny", True, 2048, False), training_template("llava_v0")
    talk = [{"from": "human", "value": "What <unk> is <unk>?"}, {"from": "gpt", "value": "A <unk> dog."}]
    own = Encoder(conv, made, official=True)(talk, has_image)

    def count(text: str) -> int:
        return sum(has_image or token != 0 for token in made(text).input_ids)

    asked = f"### {conv.roles[0]}: {talk[0]['value']}\n"
    start = count(f"{conv.system}\n\n")
    masked = {*range(start), *range(start + 2, start + count(asked))}
    assert own.input_ids.count(0) == 3
    assert own.labels == [-100 if at in masked else token for at, token in enumerate(own.input_ids)]


@pytest.mark.parametrize("family", ["next-qwen-clip", "ov-qwen", "llama3-next", "mpt"])
def test_targets_end_with_the_end_mark(family: str) -> None:
    """Nothing that the template writes behind it is trained on: inference has stopped by then."""
    version = {"llama3-next": "llava_llama_3", "mpt": "mpt"}.get(family, "qwen_1_5")
    made, conv = load_tokenizer(str(PARITY / "families" / family)), training_template(version)
    talk = [
        {"from": speaker, "value": text} for speaker, text in zip(("human", "gpt") * 2, ("Hello", "No", "?", "Yes"))
    ]
    own = Encoder(conv, made)(talk, False)
    text = made.decode([label for label in own.labels if label >= 0], skip_special_tokens=False)
    assert letters(text) == f"No{conv.sep}Yes{conv.sep}" and not text.endswith("\n")
    assert made.convert_tokens_to_ids(conv.sep) in own.labels or family == "mpt"


def test_versions_that_stand_for_another() -> None:
    """`--version v0` is not the template of that name, as in LLaVA, which changes the template for registered ones."""
    assert training_template("v0") == training_template("v0.5") == conv_templates["vicuna_v1"]
    assert training_template("llava_v0") == conv_templates["llava_v0"] != conv_templates["vicuna_v1"]


@pytest.mark.parametrize("official", [True, False])
def test_an_unknown_token_in_a_text_is_no_padding(official: bool) -> None:
    """LLaVA takes it for padding, whose id it is, and leaves it out of the prompt."""
    rows = [[1, 0, 5, 0], [1]]
    made = tokenizer("llava-tiny", True, 3, False)
    items = [{"input_ids": torch.tensor(row), "labels": torch.tensor(row)} for row in rows]
    batch = DataCollatorForSupervisedDataset(made, official)(items)
    assert batch["input_ids"].tolist() == [[1, 0, 5], [1, 0, 0]]
    assert batch["labels"].tolist() == [[1, 0, 5], [1, -100, -100]]
    assert batch["attention_mask"].tolist() == [[True, not official, True], [True, False, False]]
