"""`--preset` on the command line: transformers' own models have theirs, a LLaVA has its own, and help lists both."""

import json
from pathlib import Path

import pytest
from commands import call, texts
from conftest import PARITY
from tiny_checkpoints import qwen

import llava.hf
from llava.conversation import get_conv_template
from llava.eval.runs.command import Parser
from llava.eval.runs.conv_mode import own_chat
from llava.eval.runs.hf_run import settings_of
from llava.eval.runs.method_options import add_method_options, method_from
from llava.eval.runs.presets import OF_LLAVA
from llava.eval.runs.settings import read_settings
from llava.mm_utils import open_image
from llava.model.builder import load_pretrained_model

PICTURE = PARITY / "families" / "images" / "tall.png"
ASKED = ("--query", "What?", "--image-file", PICTURE, "--temperature", 0, "--max_new_tokens", 4, "--device", "cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return qwen(tmp_path_factory.mktemp("qwen2_5"), "qwen2_5")


@pytest.mark.parametrize(
    ("preset", "said", "settings"),
    [
        (
            "visionzip 50%",
            "visionzip: dominant 45 % of a picture's tokens, contextual 5 % of a picture's tokens",
            {"dominant": 0.45, "contextual": 0.05},
        ),
        ("vispruner 22.2%", "vispruner: 22.2 % of a picture's tokens per layer on average", {"retain": 0.222}),
    ],
)
def test_a_run_under_a_preset(
    preset: str, said: str, settings: dict[str, float], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """It says the settings, writes them down, counts what they leave, and names no method where the preset does."""
    path, answers = tmp_path / "q.jsonl", tmp_path / "a.jsonl"
    path.write_text(json.dumps({"question_id": 0, "image": PICTURE.name, "text": "What?"}) + "\n")
    flags = ("--model-path", folder, "--question-file", path, "--image-folder", PICTURE.parent, *ASKED[4:])
    done = call("model_vqa_loader", capsys, *flags, "--answers-file", answers, "--preset", preset)
    assert not done.code and said in done.out, done
    written = read_settings(answers)
    assert (written["method"], written["settings"]) == (preset.split()[0], settings)
    tokenizer, model, processor, _ = load_pretrained_model(str(folder), None, "x", device="cpu")
    prompt = get_conv_template(own_chat(str(folder)))
    prompt.append_message(prompt.roles[0], "<image>\nWhat?")
    prompt.append_message(prompt.roles[1], None)
    given = processor(text=prompt.get_prompt(), images=[open_image(PICTURE)])
    reduced = llava.hf.reduce(model, **llava.hf.PRESETS[preset])
    new = reduced.generate(**given, do_sample=False, max_new_tokens=4)[:, given["input_ids"].shape[1] :]
    assert texts(answers) == [tokenizer.decode(new[0], skip_special_tokens=True).strip()]
    other = call("model_vqa_loader", capsys, *flags, "--answers-file", answers, "--preset", "visionzip 70%")
    assert other.code == 2 and "settings" in other.err


def test_one_question_says_the_settings(folder: Path, capsys: pytest.CaptureFixture) -> None:
    done = call("run_llava", capsys, "--model-path", folder, *ASKED, "--preset", "hiprune 22.2%", "--method", "hiprune")
    assert not done.code and "method hiprune: retention 22.3 % of a picture's tokens" in done.err, done


@pytest.mark.parametrize("command", ["run_llava", "model_vqa_loader"])
def test_the_other_kinds_preset_is_refused_with_those_that_go(
    command: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps({"question_id": 0, "image": PICTURE.name, "text": "What?"}) + "\n")
    asked: tuple[object, ...] = ASKED
    if command != "run_llava":
        asked = ("--question-file", path, "--image-folder", PICTURE.parent, "--answers-file", tmp_path / "a.jsonl")
        asked += ASKED[4:]
    for model, preset, there in (
        (folder, "paper-64", [*llava.hf.PRESETS]),
        (PARITY / "llava-tiny", "visiondrop 11.1%", [*OF_LLAVA]),
    ):
        done = call(command, capsys, "--model-path", model, *asked, "--preset", preset)
        (line,) = (line for line in done.err.splitlines() if line.startswith("error"))
        assert done.code == 2 and f"'{preset}'" in line and all(name in line for name in there), done
        assert "Traceback" not in done.err and not (tmp_path / "a.jsonl").exists()


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--preset", "visionzip 70%", "--method", "fastv"), "--method (fastv) and --preset visionzip 70% (visionzip)"),
        (("--preset", "visionzip 70%", "--pdrop_infer"), "--pdrop_infer (pyramiddrop) and --preset"),
        (("--preset", "visionzip 70%", "--retain", "64"), "got --retain 64 and --preset visionzip 70%"),
        (("--preset", "visionzip 70%", "--dominant", "5"), "--preset makes the whole schedule: got it with --dominant"),
        (("--preset", "visionzip 71%"), "invalid choice: 'visionzip 71%'"),
    ],
)
def test_what_contradicts_a_preset_is_one_line(
    flags: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture
) -> None:
    done = call("run_llava", capsys, "--model-path", "nowhere", *ASKED, *flags)
    assert done.code == 2 and complaint in done.err and len(done.err.splitlines()) == 1, done


def test_what_no_schedule_sets_goes_beside_a_preset() -> None:
    parser = Parser()
    add_method_options(parser)
    choice = method_from(parser.parse_args(["--preset", "visiondrop 5%", "--positions", "renumber"]))
    assert (choice.name, choice.preset, choice.shared) == ("visiondrop", "visiondrop 5%", {"positions": "renumber"})
    assert settings_of(choice) == {"retain": 0.05, "positions": "renumber"}


def test_help_lists_both_kinds(capsys: pytest.CaptureFixture) -> None:
    done = call("run_llava", capsys, "--help")
    words = " ".join(done.out.split())
    assert not done.code and all(name in words for name in OF_LLAVA)
    assert all(f"'{name}'" in words for name in llava.hf.PRESETS)
