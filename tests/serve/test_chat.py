"""A chat: every turn answers as the whole conversation would, on the cache of the turns before."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import PARITY, Load
from PIL import Image

from llava.errors import InputError
from llava.eval.runs.loading import Loaded
from llava.files.pictures import open_image
from llava.mm_utils import process_images, tokenizer_image_token
from llava.reduction import create
from llava.serve.chat import Chat
from llava.serve.cli import talk
from llava.serve.kept import write_kept
from llava.serve.words import KNOWN, read_line, tokens_of

pytestmark = pytest.mark.shallow

ROOT = Path(__file__).parents[2]
SHAPES = ROOT / "playground/shapes"
GREEDY = {"do_sample": False, "max_new_tokens": 6}
VISIONDROP = {"dominant": 42, "contextual": 6, "layer_list": [3, 6, 9], "image_token_list": [[30, 5], [22, 4], [16, 3]]}
METHODS = {"none": {}, "visiondrop": VISIONDROP, "visionzip": {"dominant": 54, "contextual": 10}}


def chat_on(load: Load, method: str = "none") -> Chat:
    loaded = load("llava-tiny-12l")
    return Chat(
        Loaded(loaded.tokenizer, loaded.model, loaded.processor),
        "vicuna_v1",
        GREEDY,
        create(method, **METHODS.get(method, {})),
    )


def whole(chat: Chat) -> str:
    """The last answer again, from the whole conversation without any cache."""
    model, asked = chat.loaded.model, chat.conversation.copy()
    asked.messages[-1][-1] = None
    ids = tokenizer_image_token(asked.get_prompt(), chat.loaded.tokenizer, return_tensors="pt")[None]
    pixels = [process_images([picture], chat.loaded.processor, model.config)[0] for picture in chat.pictures]
    sizes = [picture.size for picture in chat.pictures]
    with torch.inference_mode():
        new = model.generate(ids, images=pixels or None, image_sizes=sizes or None, reduction=chat.reduction, **GREEDY)
    return chat.loaded.tokenizer.decode(new[0], skip_special_tokens=True).strip()


@pytest.mark.parametrize("method", METHODS)
def test_turns_answer_as_the_whole_conversation_would(load: Load, method: str) -> None:
    chat = chat_on(load, method)
    chat.show(open_image(PARITY / "images/0.png"))
    for number, message in enumerate(("What is this?", "And its color?", "Où?")):
        turn = chat.ask(message)
        assert turn.text == whole(chat), number
    chat.show(open_image(PARITY / "images/1.png"))
    assert chat.ask("What differs?").text == whole(chat) and len(chat.pictures) == 2
    chat.use(create("visionzip", dominant=20, contextual=4))
    assert chat.ask("Sure?").text == whole(chat)


def test_a_picture_that_gets_company_is_squared_as_onevision_wants_it(load: Load) -> None:
    loaded = load("families/ov-qwen")
    chat = Chat(Loaded(loaded.tokenizer, loaded.model, loaded.processor), "vicuna_v1", GREEDY, create("none"))
    chat.show(open_image(PARITY / "families/images/small.png"))
    assert len(chat.pixels[0]) == 2 and chat.ask("What is this?").text == whole(chat)
    chat.show(open_image(PARITY / "images/1.png"))
    turn = chat.ask("What differs?")
    assert [tuple(pixels.shape) for pixels in chat.pixels] == [(3, 384, 384)] * 2 and not turn.cached
    assert chat.trace.layout is not None and [span.length for span in chat.trace.layout.spans] == [729, 729]


def test_a_turn_runs_on_the_cache_where_its_ids_are_known(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = chat_on(load, "visiondrop")
    chat.show(open_image(PARITY / "images/0.png"))
    first = chat.ask("What is this?")
    assert not first.cached
    known = chat._known
    # What a model says is not always what its text is tokenised to; here it is told to be.
    monkeypatch.setattr(
        "llava.serve.chat.tokenizer_image_token", lambda *_, **__: torch.cat([known, torch.tensor([5, 6, 7])])
    )
    second = chat.ask("And?")
    assert second.cached and second.prompt_tokens == 3


@pytest.mark.parametrize("mode", ["mask", "inplace"])
def test_a_method_that_chooses_at_every_token_runs_each_turn_anew(
    load: Load, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    chat = chat_on(load)
    chat.use(create("fastv", mode=mode))
    chat.show(open_image(PARITY / "images/0.png"))
    chat.ask("What is this?")
    monkeypatch.setattr(torch, "equal", lambda *_: True)  # as if what was said were what its text is tokenised to
    turn = chat.ask("And its color?")
    assert not turn.cached and turn.text == whole(chat)


def test_what_fails_leaves_the_conversation_as_it_was(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = chat_on(load)
    with pytest.raises(InputError, match="must not hold <image>"):
        chat.ask("What is <image>?")
    before = [list(message) for message in chat.conversation.messages]
    monkeypatch.setattr(type(chat.loaded.model), "generate", lambda *_, **__: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(MemoryError):
        chat.ask("What?")
    assert [list(message) for message in chat.conversation.messages] == before


def test_a_stopped_answer_stays_in_the_conversation(load: Load) -> None:
    chat, calls = chat_on(load), []
    turn = chat.ask("Tell me", stopped=lambda: bool(calls.append(1)) or len(calls) >= 2)
    assert not turn.complete and len(calls) == 2
    assert chat.conversation.messages[-1][1] in (turn.text, " ")


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        ("/imagine x", "unknown command '/imagine'"),
        ("/image", "is used as '/image PATH': got 0"),
        ("/image a b", "got 2 words"),
        ("/image 'a", "quotes in a command must close"),
    ],
)
def test_commands_that_make_no_sense(typed: str, complaint: str) -> None:
    with pytest.raises(InputError, match=re.escape(complaint)):
        read_line(typed)


def test_lines_are_messages_or_commands() -> None:
    assert read_line("  hello / there ").words == ("hello / there",) and read_line("hi").command == ""
    assert read_line("/image 'my photo.jpg'").words == ("my photo.jpg",)
    assert set(KNOWN) == {"/image", "/method", "/kept", "/reset", "/help", "/exit"}
    for wrong in ("0", "-3", "x", "1" * 30, "٣"):
        with pytest.raises(InputError, match="whole number of at least 1"):
            tokens_of(wrong)


def test_a_session_goes_on_after_mistakes(load: Load, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    chat = chat_on(load, "visiondrop")
    png = tmp_path / "kept.png"
    typed = iter(
        [
            *("/kept", f"/image {PARITY}/images/0.png", "What?", f"/kept {png}", "/image nowhere.png", "/method x"),
            *("/method visionzip 64", "And?", "/method visiondrop 100000", "/reset", "", "/help", "/exit", "never"),
        ]
    )
    talk(chat, lambda: next(typed))
    said = capsys.readouterr().out
    assert next(typed) == "never" and Image.open(png).size[0] > 100
    assert said.count("error: ") == 4 and "48, 35, 26, 19 image tokens; written to" in said
    assert "from now on visionzip" in said and "forgotten" in said and chat.conversation.messages == []
    with pytest.raises(InputError, match="got none that was asked about"):
        write_kept(chat, str(png))


@pytest.mark.slow
def test_ctrl_c_stops_an_answer_and_not_the_chat(tmp_path: Path) -> None:
    """A real process in a real terminal."""
    leader, follower = pty.openpty()
    flags = [
        "--model-path",
        PARITY / "llava-tiny-12l",
        "--temperature",
        "0",
        "--max-new-tokens",
        "1500",
        "--device",
        "cpu",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "llava.serve.cli", *map(str, flags), "--conv-mode", "vicuna_v1"],
        stdin=follower, stdout=follower, stderr=follower, cwd=ROOT, start_new_session=True,
        env=os.environ | {"XDG_STATE_HOME": str(tmp_path), "TERM": "dumb"},
    )  # fmt: skip
    os.close(follower)
    seen = ""

    def until(words: str) -> None:
        nonlocal seen
        deadline = time.monotonic() + 120
        while words not in seen:
            assert time.monotonic() < deadline and process.poll() is None, seen
            if select.select([leader], [], [], 0.5)[0]:
                seen += os.read(leader, 65536).decode(errors="replace")
        seen = seen[seen.index(words) + len(words) :]

    try:
        until("you: ")
        os.write(leader, b"Hello\n")
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        until("[stopped]")
        until("you: ")
        os.write(leader, b"/reset\n")
        until("forgotten")
        os.write(leader, b"/exit\n")
        assert process.wait(30) == 0
        assert "Hello" in (tmp_path / "visiondrop/chat_history").read_text()
    finally:
        process.kill()
        os.close(leader)


def test_lines_from_a_pipe(tmp_path: Path) -> None:
    """What the README shows: the shipped model, questions from stdin."""
    typed = "What shape is in the center?\n/method visiondrop 28\nWhere is the white ring?\n"
    flags = ["--image-file", str(SHAPES / "images/00000.png"), "--temperature", "0", "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-m", "llava.serve.cli", *flags],
        input=typed,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("llava-shapes, none: 256 in 8 layers") and lines[1] == "cross"
    assert lines[2].startswith("from now on visiondrop") and lines[3] == "bottom left"
