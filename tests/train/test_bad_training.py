"""What cannot be trained: one line that names it, before anything is loaded."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from training_runs import TALKS, TINY, flags, write_data

from llava.errors import InputError
from llava.reduction import available, method_class
from llava.train.arguments import DataArguments, ModelArguments, TrainingArguments
from llava.train.data.samples import read_samples
from llava.train.flags import modern, parse

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


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', "[1e999]", '"text"', "\xff"])
def test_a_file_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError):
        read_samples(str(path), IMAGES)


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
            read_samples(write_data(tmp_path, [sample]), IMAGES, captions=True)
    assert len(read_samples(write_data(tmp_path, [SHOWN]), IMAGES, captions=True).kept) == 1


BAD_FLAGS: dict[str, tuple[str, ...]] = {
    "unknown": ("--no_such_flag", "1"),
    "part of a name": ("--image_fold", "x"),
    "switch": ("--bf16", "perhaps"),
    "number": ("--learning_rate", "fast"),
    "negative rate": ("--learning_rate", "-1"),
    "not a rate": ("--mm_projector_lr", "nan"),
    "bits": ("--bits", "3"),
    "bits without an adapter": ("--bits", "4"),
    "quantisation": ("--lora_enable", "True", "--quant_type", "int4"),
    "biases": ("--lora_enable", "True", "--lora_bias", "lora_only"),
    "rank": ("--lora_enable", "True", "--lora_r", "0"),
    "dropout": ("--lora_enable", "True", "--lora_dropout", "1"),
    "nothing trained": ("--tune_mm_mlp_adapter", "True", "--freeze_mm_mlp_adapter", "True"),
    "two ways": ("--tune_mm_mlp_adapter", "True", "--lora_enable", "True"),
    "tower's rate": ("--mm_vision_tower_lr", "1e-6"),
    "length": ("--model_max_length", "0"),
    "strategy": ("--evaluation_strategy", "sometimes"),
    "warm-up": ("--warmup_ratio", "3"),
    "batch": ("--per_device_train_batch_size", "two"),
    "attention": ("--attn_implementation", "xformers"),
    "method": ("--method", "no_such_method"),
    "setting of another method": ("--method", "pyramiddrop", "--dominant", "3"),
    "budget": ("--method", "visiondrop", "--retain", "0"),
    "scheduler": ("--lr_scheduler_type", "wavy"),
    "tokens of an image": ("--tune_mm_mlp_adapter", "True", "--mm_use_im_start_end", "True"),
}


@pytest.mark.parametrize("name", BAD_FLAGS)
def test_flags_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises((InputError, SystemExit)) as refused:
        parse(flags(tmp_path, *BAD_FLAGS[name]))
    assert not isinstance(refused.value, SystemExit) or refused.value.code == 2
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("lost", ["--data_path", "--model_name_or_path"])
def test_needed_flags(lost: str, tmp_path: Path) -> None:
    given = flags(tmp_path)
    given[given.index(lost) + 1] = ""
    with pytest.raises(InputError, match=lost):
        parse(given)


def test_old_spellings() -> None:
    old = [
        "--evaluation_strategy",
        "no",
        "--warmup_ratio=0.03",
        "--save_safetensors",
        "True",
        "--group_by_length",
        "True",
    ]
    new = ["--eval_strategy", "no", "--warmup_steps", "0.03", "--train_sampling_strategy", "group_by_length"]
    assert modern(old) == new
    assert modern(["--bf16", "True", "--no_cuda", "False"]) == ["--bf16", "True", "--use_cpu", "False"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--version", "no_such_template"), "--version must name a conversation template"),
        (("--vision_tower", "no/such/tower"), "no/such/tower"),
        (("--image_aspect_ratio", "wide"), "image_aspect_ratio"),
        (("--bits", "5"), "--bits must be known"),
    ],
)
def test_the_command_says_it_in_one_line(more: tuple[str, ...], said: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "llava.train.train", *flags(tmp_path, *more, data=write_data(tmp_path, TALKS))]
    ended = subprocess.run(command, capture_output=True, text=True)
    last = ended.stderr.strip().splitlines()[-1]
    assert ended.returncode == 2 and said in last and "Traceback" not in ended.stderr
    assert not (tmp_path / "out").exists() and json.loads((tmp_path / "data.json").read_text()) == TALKS


def test_no_setting_of_a_method_has_the_name_of_a_training_flag() -> None:
    """One of both would be lost without a word; `seed` is the command's own everywhere."""
    own = {
        field.name for kind in (ModelArguments, DataArguments, TrainingArguments) for field in dataclasses.fields(kind)
    }
    settings = {field.name for name in available() for field in dataclasses.fields(method_class(name))}
    assert settings & own <= {"seed"}
