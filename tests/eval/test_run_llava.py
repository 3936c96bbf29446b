"""LLaVA's one-image command, and `eval_model` as its README calls it."""

from pathlib import Path

import pytest
from commands import call
from conftest import CASES, PARITY, Load, reduction_of, reference, sample

from llava.errors import InputError
from llava.eval.run_llava import eval_model, infer_conv_mode, place_images

IMAGES = PARITY / "images"
TINY = PARITY / "llava-tiny-12l"


def ask(capsys: pytest.CaptureFixture, *flags: object) -> object:
    """The command on the 12-layer checkpoint, greedy, four tokens."""
    common = ["--model-path", TINY, "--conv-mode", "vicuna_v1", "--temperature", 0, "--max_new_tokens", 4]
    return call("run_llava", capsys, *common, *flags)


def test_answer_is_that_of_generate(load: Load, capsys: pytest.CaptureFixture) -> None:
    case = next(case for case in CASES if case["name"] == "visiondrop-12-layers")
    schedule = "--dominant 50 --contextual 14 --layer_list [2,5,9] --image_token_list [[33,7],[20,5],[9,1]]"
    flags = [*schedule.split(), "--image-file", IMAGES / case["image"], "--query", case["question"]]
    done = ask(capsys, *flags)
    ids = reference(case)["generated_ids"][:4]
    loaded = load("llava-tiny-12l")
    assert reduction_of(case).layers == [2, 5, 9]
    assert done.code == 0 and done.out.strip() == loaded.tokenizer.decode(ids, skip_special_tokens=True).strip()


def test_what_was_loaded_is_said_once_and_not_among_answers(capsys: pytest.CaptureFixture) -> None:
    done = ask(capsys, "--image-file", IMAGES / "0.png", "--query", "a", "--method", "visionzip", "--retain", 64)
    line = "LLaVA-1.5 on LLaMA (12 layers), CLIP 336/14 beside the checkpoint, pad, one view (576 tokens), method "
    assert done.err.count(line + "visionzip: 64.0 tokens per layer on average") == 1 and "LLaVA" not in done.out


def test_several_pictures(load: Load, capsys: pytest.CaptureFixture) -> None:
    loaded = load("llava-tiny-12l", "visionzip", dominant=54, contextual=10)
    asked = sample(loaded, "What differs?", "0.png", "1.png")
    new = loaded.model.generate(**asked._asdict(), do_sample=False, max_new_tokens=4)
    files = f"{IMAGES / '0.png'};{IMAGES / '1.png'}"
    flags = ["--image-file", files, "--sep", ";", "--dominant", 54, "--contextual", 10, "--method", "visionzip"]
    done = ask(capsys, *flags, "--query", "What differs?")
    assert done.out.strip() == loaded.tokenizer.decode(new[0], skip_special_tokens=True).strip()


def test_eval_model_takes_llavas_attributes(capsys: pytest.CaptureFixture) -> None:
    arguments = {
        "model_path": str(TINY),
        "model_base": None,
        "model_name": "llava-tiny-12l",
        "query": "What color is the circle?",
        "conv_mode": None,
        "image_file": str(IMAGES / "0.png"),
        "sep": ",",
        "temperature": 0,
        "top_p": None,
        "num_beams": 1,
        "max_new_tokens": 3,
    }
    answer = eval_model(type("Args", (), arguments)())
    assert capsys.readouterr().out == f"{answer}\n"


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("llava-llama-2-13b-chat", "llava_llama_2"),
        ("llava-v1.6-mistral-7b", "mistral_instruct"),
        ("llava-v1.6-34b", "chatml_direct"),
        ("LLaVA-v1.5-7b", "llava_v1"),
        ("llava-mpt-7b", "mpt"),
        ("llava-7b", "llava_v0"),
    ],
)
def test_conversation_mode_by_name(name: str, mode: str) -> None:
    assert infer_conv_mode(name) == mode


def test_placeholders_say_where_pictures_go() -> None:
    assert place_images("Is it?", 2, False) == "<image>\n<image>\nIs it?"
    assert place_images("Is it?", 1, True) == "<im_start><image><im_end>\nIs it?"
    asked = "A <image-placeholder> and <image-placeholder>?"
    assert place_images(asked, 2, False) == "A <image> and <image>?"
    with pytest.raises(InputError, match="got 2 of them for 1 pictures"):
        place_images(asked, 1, False)


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--image-file", "/nowhere.png", "--query", "a"], "/nowhere.png"),
        (["--image-file", "http://127.0.0.1:1/a.png", "--query", "a"], "'http://127.0.0.1:1/a.png' is not"),
        (["--image-file", IMAGES / "0.png"], "--query"),
        (["--image-file", IMAGES / "0.png", "--query", "a", "--conv-mode", "x"], "--conv-mode must name"),
        (["--image-file", IMAGES / "0.png", "--query", "a", "--retain", 0], "--retain must be at least 1"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture, flags: list, complaint: str) -> None:
    done = ask(capsys, *flags)
    assert done.code == 2 and complaint in done.err.splitlines()[-1] and "Traceback" not in done.err


def test_another_mode_than_the_names_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    done = ask(capsys, "--image-file", IMAGES / "0.png", "--query", "a")
    assert "conversation mode vicuna_v1 as asked for; the model's name suggests llava_v0" in done.err
