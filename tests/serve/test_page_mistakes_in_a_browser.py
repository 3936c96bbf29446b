"""The page in a real Chromium: answers that are stopped or fail, other checkpoints, and mistakes of whoever asks."""

import json
import shutil
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_page import IMAGES, ROOT, answer, opened, playwright, said, shot, shown, started, upload, wait
from slow_server import SlowServer

OTHERS = {
    "llava-tiny-next": "vicuna_v1",
    "families/mistral-next": "mistral_instruct",
    "families/ov-qwen": "qwen_1_5",
}
pytestmark = pytest.mark.slow


@pytest.fixture
def slow() -> Iterator[SlowServer]:
    """A server that says a word whenever the test lets it."""
    with SlowServer() as server:
        yield server


def test_an_answer_grows_and_can_be_stopped(browser: Any, slow: SlowServer) -> None:
    with started("--server", slow.url, name="slow") as place, opened(browser, place) as page:
        assert "shapes only" not in page.inner_text("body")
        shown(page, IMAGES / "00000.png")
        page.get_by_label("Question").fill("Describe the picture.")
        page.get_by_role("button", name="Ask").click()
        for words in ("one", "one two", "one two three"):
            slow.go_on.release()
            playwright.expect(page.locator("#answer-first textarea")).to_have_value(words)
        page.get_by_role("button", name="Stop").click()
        deadline = time.monotonic() + 30
        while not slow.gone.is_set():
            slow.go_on.release()
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_an_error_amid_an_answer_is_shown_beside_what_there_is_of_it(browser: Any, slow: SlowServer) -> None:
    slow.fails_after = 1
    with started("--server", slow.url, name="slow") as place, opened(browser, place) as page:
        shown(page, IMAGES / "00000.png")
        page.get_by_label("Question").fill("Describe the picture.")
        slow.go_on.release(2)
        page.get_by_role("button", name="Ask").click()
        assert wait(page, "Error") == "Error: there is not enough memory"
        assert answer(page) == "one"


@pytest.mark.parametrize("name", OTHERS)
def test_other_checkpoints_are_talked_to(browser: Any, name: str) -> None:
    mode, method = OTHERS[name], "visiondrop"
    flags = ["--model-path", str(ROOT / "tests/parity" / name), "--conv-mode", mode, "--max-new-tokens", "6"]
    with started(*flags, name=Path(name).name) as place, opened(browser, place) as page:
        assert f"Model: {Path(name).name}" in page.inner_text("body") and "coloured shapes" not in page.inner_text(
            "body"
        )
        shown(page, ROOT / "tests/parity/images/1.png")
        said(page, "What is this?")
        wait(page, f"{method}: done")
        said(page, "And its color?")
        playwright.expect(page.locator("#earlier")).to_contain_text("What is this?", timeout=60_000)
        wait(page, f"{method}: done")
        drawing = page.locator("#kept-first img")
        assert drawing.get_attribute("alt").startswith(f"What {method} kept of the picture: vision encoder")
        shot(page, Path(name).name)


REFUSED = {
    "text.png": "it is none; fetch or convert it",
    "page.svg": "it is none; fetch or convert it",
    "cut.png": "image file is truncated",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_refused_in_a_sentence(page: Any, tmp_path: Path, name: str) -> None:
    content = {"text.png": b"no picture", "page.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>"}
    (tmp_path / name).write_bytes(content.get(name, (IMAGES / "00000.png").read_bytes()[:300]))
    upload(page, tmp_path / name)
    page.get_by_label("Remove Image").first.wait_for()
    page.get_by_label("Question").fill("What is it?")
    page.get_by_role("button", name="Ask").click()
    assert REFUSED[name] in wait(page, "Error: image 1")


@pytest.mark.parametrize(("picture", "question", "sentence"), [(False, "What?", "picture"), (True, "", "question")])
def test_what_is_missing_is_said(page: Any, picture: bool, question: str, sentence: str) -> None:
    if picture:
        shown(page, IMAGES / "00000.png")
    page.get_by_label("Question").fill(question)
    page.get_by_role("button", name="Ask").click()
    assert f"an answer needs a {sentence}" in wait(page, "Error")
    assert page.get_by_role("alert").count() == 1


def called(address: str, file: Any) -> str:
    """What the page's own interface for programs says to a question about a file."""
    data = [file, "Where is the white ring?", "none", 256, False, "none", 256, None]
    call = f"{address}/gradio_api/call/answered"
    request = urllib.request.Request(call, json.dumps({"data": data}).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        event = json.load(response)["event_id"]
    with urllib.request.urlopen(f"{call}/{event}") as response:
        return response.read().decode()


def test_no_file_of_the_machine_can_be_asked_about(address: str, tmp_path: Path) -> None:
    shutil.copy(IMAGES / "00000.png", tmp_path / "secret.png")
    assert "an answer needs a picture" in called(address, None)
    heard = called(address, {"path": str(tmp_path / "secret.png"), "meta": {"_type": "gradio.FileData"}})
    assert "event: error" in heard and "bottom left" not in heard
