"""Data that cannot be trained on: one line that says what is wrong with it and where, before anything is loaded."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from training_runs import TALKS, TINY, flags, write_data

from llava.constants import IMAGE_TOKEN_INDEX
from llava.errors import InputError
from llava.model.image_inputs import sort_images
from llava.model.tokenizer import load_tokenizer
from llava.train.data.dataset import LazySupervisedDataset, make_supervised_data_module
from llava.train.data.samples import read_samples
from llava.train.flags import parse
from llava.train.train import data_arguments

IMAGES = str(TINY.parent / "images")


def talk(*messages: tuple[Any, Any], **more: Any) -> dict[str, Any]:
    return {"conversations": [{"from": speaker, "value": text} for speaker, text in messages], **more}


GOOD = talk(("human", "Hello"), ("gpt", "Hello."))
SHOWN = talk(("human", "<image>\nWhat?"), ("gpt", "A dog."), image="0.png")
BAD_SAMPLES = {
    "another speaker": (talk(("user", "Hello"), ("gpt", "Hello.")), "message 0 must be from human or gpt: got 'user'"),
    "one twice": (talk(("human", "Hello"), ("human", "You?")), "messages 0 and 1 are both by human"),
    "no messages": (talk(), "'conversations' must be a list of messages: got []"),
    "no conversations": ({"id": 1}, "got None"),
    "a number as text": (talk(("human", 3), ("gpt", "Hello.")), "message 0 must have a text: got 3"),
    "no text": ({"conversations": [{"from": "human"}]}, "'from' and 'value'"),
    "a missing picture": (talk(("human", "<image>"), ("gpt", "No"), image="9.png"), "9.png' is not there"),
    "two tags": (talk(("human", "<image> <image>"), ("gpt", "No"), image="0.png"), "one <image> per picture: got 2"),
    "no tag": (talk(("human", "What?"), ("gpt", "No"), image="0.png"), "one <image> per picture: got 0 for 1"),
    "image null": (talk(("human", "<image>"), ("gpt", "No"), image=None), "'image' must be a path"),
    "image a number": (talk(("human", "<image>"), ("gpt", "No"), image=[1]), "'image' must be a path"),
    "no picture": (talk(("human", "<image>"), ("gpt", "No"), image="data.json"), "Pillow"),
    "a list": ([1, 2], "must be an object"),
    "null": (None, "must be an object"),
    "OpenAI's form": ({"messages": [{"role": "user", "content": "Hello"}]}, "'conversations' must be a list"),
    "a talk by name": ({"conversations": {"from": "human", "value": "Hello"}}, "'conversations' must be a list"),
    "a text for a message": ({"conversations": ["Hello", "Hello."]}, "must be an object with 'from' and 'value'"),
    "capitals": (talk(("Human", "Hello"), ("gpt", "Hello.")), "must be from human or gpt: got 'Human'"),
    "text null": (talk(("human", None), ("gpt", "Hello.")), "message 0 must have a text"),
    "a NUL": (talk(("human", "a\x00b"), ("gpt", "Hello.")), "NUL"),
    "image empty": (talk(("human", "<image>"), ("gpt", "No"), image=""), "'image' must be a path"),
    "no images": (talk(("human", "What?"), ("gpt", "No"), image=[]), "'image' must be a path"),
    "image an object": (talk(("human", "<image>"), ("gpt", "No"), image={"path": "0.png"}), "'image' must be a path"),
    "a folder": (talk(("human", "<image>"), ("gpt", "No"), image="."), "is a folder"),
    "an address": (talk(("human", "<image>"), ("gpt", "No"), image="https://a.org/b.png"), "download it first"),
    "pictures by another name": (talk(("human", "<image>"), ("gpt", "No"), images=["0.png"]), "got 'images', which is"),
    "a video": (talk(("human", "<video>"), ("gpt", "No"), video="a.mp4"), "a video is a list of frames"),
    "a long path": (talk(("human", "<image>"), ("gpt", "No"), image="a" * 5000), "is not there"),
    "tags in two messages": (
        talk(("human", "<image>"), ("gpt", "No"), ("human", "<image>"), ("gpt", "No"), image="0.png"),
        "one <image> per picture: got 2 for 1",
    ),
    "a tag around a tag": (talk(("human", "<im<image>age>"), ("gpt", "No"), image="0.png"), "got 2 for 1"),
    "one tag for two": (talk(("human", "<image>"), ("gpt", "No"), image=["0.png", "1.png"]), "got 1 for 2"),
}


@pytest.mark.parametrize("name", BAD_SAMPLES)
def test_a_sample_is_refused_with_its_place(name: str, tmp_path: Path) -> None:
    sample, said = BAD_SAMPLES[name]
    folder = tmp_path if name == "no picture" else IMAGES
    path = write_data(tmp_path, [GOOD, sample, GOOD])
    with pytest.raises(InputError) as refused:
        read_samples(path, str(folder))
    assert "1 of 3 samples" in str(refused.value) and "sample 1: " in str(refused.value)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_every_fault_is_counted(tmp_path: Path) -> None:
    path = write_data(tmp_path, [GOOD] + [talk()] * 30)
    with pytest.raises(InputError, match="30 of 31 samples .*; and 20 more; mend or remove them"):
        read_samples(path, IMAGES)


BROKEN = {
    "empty": b"",
    "torn": json.dumps(TALKS).encode()[:-9],
    "no sample": b"[]",
    "an object": b'{"a": 1}',
    "a number too large": b"[1e999]",
    "no number": b"[NaN]",
    "a text": b'"text"',
    "no UTF-8": b"\xff",
    "UTF-16": json.dumps(TALKS).encode("utf-16"),
    "a line each": b"\n".join(json.dumps(one).encode() for one in TALKS),
    "compressed": b"\x1f\x8b\x08\x00",
    "deep": b"[" * 100_000,
    "half a letter": b'[{"conversations": [{"from": "human", "value": "\\ud800"}, {"from": "gpt", "value": "No"}]}]',
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(BROKEN[name])
    with pytest.raises(InputError) as refused:
        read_samples(str(path), IMAGES)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 2000


def test_samples_without_an_answer_are_left_out_and_named(tmp_path: Path) -> None:
    silent = [
        talk(("human", "Hello")),
        talk(("human", "Hello"), ("gpt", "")),
        talk(("gpt", "Hello"), ("human", "You?")),
    ]
    samples = read_samples(write_data(tmp_path, [GOOD, *silent, SHOWN]), IMAGES)
    assert samples.silent == (1, 2, 3) and [sample.number for sample in samples.kept] == [0, 4]
    with pytest.raises(InputError, match="all its 3 samples have none"):
        read_samples(write_data(tmp_path, silent), IMAGES)


def test_captions_are_questions_with_a_picture(tmp_path: Path) -> None:
    for sample in (GOOD, talk(*[("human", "<image>"), ("gpt", "No")] * 2, image=["0.png", "1.png"])):
        with pytest.raises(InputError, match="'plain'"):
            read_samples(write_data(tmp_path, [sample]), IMAGES, "plain")
    assert len(read_samples(write_data(tmp_path, [SHOWN]), IMAGES, "plain").kept) == 1


def test_an_instruction_needs_a_first_question(tmp_path: Path) -> None:
    """llama_2 writes instruction and system text around it. LLaVA stops at such a sample, in the middle of training."""
    unasked = [talk(("human", ""), ("gpt", "No")), talk(("gpt", "Hello"), ("human", ""), ("gpt", "No"))]
    later = talk(("human", "What?"), ("gpt", "No"), ("human", ""), ("gpt", "Yes"))
    path = write_data(tmp_path, [GOOD, *unasked, later, SHOWN])
    with pytest.raises(InputError, match="2 of 5 samples .* sample 1: .*first question.* sample 2: "):
        read_samples(path, IMAGES, "llama_2")
    assert len(read_samples(path, IMAGES).kept) == 5
    settings = SimpleNamespace(image_folder=IMAGES, version="mistral_instruct", image_processor=None)
    with pytest.raises(InputError, match="first question"):
        LazySupervisedDataset(path, None, settings)


def test_pictures_as_llava_takes_them(tmp_path: Path) -> None:
    """With its masking: one that no message names is not seen, and two tags in one message are one."""
    unseen = talk(("human", "What?"), ("gpt", "No"), image="0.png")
    twice = talk(("human", "<image> or <image>?"), ("gpt", "No"), image="1.png")
    path = write_data(tmp_path, [unseen, twice, SHOWN])
    with pytest.raises(InputError, match="2 of 3 samples .*got 0 for 1; .*got 2 for 1"):
        read_samples(path, IMAGES)
    settings = data_arguments(parse(flags(tmp_path, "--official_masking", "True", data=path)))
    tokenizer = load_tokenizer(str(TINY))
    tokenizer.model_max_length, tokenizer.pad_token = 2048, tokenizer.unk_token
    module = make_supervised_data_module(tokenizer, settings)
    batch = module["data_collator"]([module["train_dataset"][number] for number in range(3)])
    assert (batch["input_ids"] == IMAGE_TOKEN_INDEX).sum(dim=1).tolist() == [0, 1, 1] and len(batch["images"]) == 3
    sort_images(batch["input_ids"], batch["images"], batch["image_sizes"], batch["attention_mask"], None)
    assert module["train_dataset"].modality_lengths == [2, 4, 4]
    broken = [BAD_SAMPLES[name][0] for name in ("tags in two messages", "a tag around a tag", "one tag for two")]
    with pytest.raises(InputError, match="3 of 3 samples"):
        read_samples(write_data(tmp_path, broken), IMAGES, official=True)


def test_samples_without_a_word_have_a_length(tmp_path: Path) -> None:
    """LLaVA's grouping stops at one of length 0, or would lose it."""
    blank = talk(("human", " "), ("gpt", " "))
    trainer_data = data_arguments(parse(flags(tmp_path, data=write_data(tmp_path, [SHOWN, blank]))))
    dataset = LazySupervisedDataset(trainer_data.data_path, None, trainer_data)
    assert dataset.modality_lengths == [4, -1]


def test_what_the_file_is_instead_is_said(tmp_path: Path) -> None:
    for content, said in (
        (b'{"a": 1}', "holds a JSON object; write"),
        (b"[]", "holds an empty list; write"),
        (b'{"a": 1}\n{"a": 2}', "of JSON Lines make one list"),
    ):
        (tmp_path / "data.json").write_bytes(content)
        with pytest.raises(InputError) as refused:
            read_samples(str(tmp_path / "data.json"), IMAGES)
        assert said in str(refused.value)


def test_a_picture_that_becomes_too_large_as_a_square(tmp_path: Path) -> None:
    Image.new("1", (14_000, 2)).save(tmp_path / "0.png")
    path = write_data(tmp_path, [SHOWN])
    assert len(read_samples(path, str(tmp_path)).kept) == 1
    with pytest.raises(InputError, match="sample 0: the square around .* got 14000 x 14000"):
        read_samples(path, str(tmp_path), square=True)
    assert LazySupervisedDataset(path, None, SimpleNamespace(image_folder=str(tmp_path), image_aspect_ratio="square"))
    with pytest.raises(InputError, match="the square around"):
        LazySupervisedDataset(path, None, SimpleNamespace(image_folder=str(tmp_path), image_aspect_ratio="pad"))
