"""The page in a real Chromium: upload, ask, watch the answer grow, change the budget, compare, make mistakes."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slow_server import SlowServer

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; make web-test has it")
pytest.importorskip("gradio", reason="gradio is not installed; make web-test has it")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("there is no Chromium on this machine (Debian: apt-get install chromium)", allow_module_level=True)

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "playground/shapes/images"
TURNS = [
    ("Where is the white ring?", "bottom left"),
    ("What shape is in the center?", "cross"),
    ("Is there a cross?", "yes"),
]
OTHERS = {
    "llava-tiny-next": "vicuna_v1",
    "families/mistral-next": "mistral_instruct",
    "families/ov-qwen": "qwen_1_5",
}
SHOTS = os.environ.get("WEB_SHOTS")  # a folder for screenshots to look at
pytestmark = pytest.mark.slow


@contextlib.contextmanager
def started(*flags: str, name: str = "llava-shapes") -> Iterator[str]:
    """The command on a free port; its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "llava.serve.web", "--page-port", str(port), *flags]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"{name} on http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The page as `make web` starts it."""
    with started() as place:
        yield place


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium."""
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@contextlib.contextmanager
def opened(browser: Any, address: str) -> Iterator[Any]:
    """The page in a tab; at the end nothing may have gone wrong in it, and nothing been sent elsewhere."""
    tab = browser.new_page(viewport={"width": 1500, "height": 1000})
    errors: list[str] = []
    sent: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("request", lambda asked: sent.append(asked.url) if asked.method != "GET" else None)
    tab.goto(address)
    tab.get_by_label("Question").wait_for()
    yield tab
    tab.close()
    assert errors == []
    assert [url for url in sent if not url.startswith(address)] == []


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page on the shipped model."""
    with opened(browser, address) as tab:
        yield tab


@pytest.fixture
def slow() -> Iterator[SlowServer]:
    """A server that says a word whenever the test lets it."""
    with SlowServer() as server:
        yield server


def upload(page: Any, path: Path) -> None:
    """Put a file into the picture's box."""
    page.locator("input[type=file]").first.set_input_files(str(path))


def shown(page: Any, path: Path) -> None:
    """Upload a picture and wait until it is seen."""
    upload(page, path)
    page.get_by_label("Remove Image").first.wait_for()


def wait(page: Any, text: str, which: str = "first") -> str:
    """The state of one method once it holds `text`."""
    place = page.locator(f"#state-{which}")
    playwright.expect(place).to_contain_text(text, timeout=60_000)
    return place.inner_text()


def answer(page: Any, which: str = "first") -> str:
    """What one method's answer box holds."""
    return page.locator(f"#answer-{which} textarea").input_value()


def shot(page: Any, name: str) -> None:
    """A screenshot, where somebody wants to look."""
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/{name}.png", full_page=True)


def test_a_question_by_keyboard(page: Any) -> None:
    assert "knows coloured shapes" in page.inner_text("body")
    shown(page, IMAGES / "00000.png")
    page.get_by_label("Question").focus()
    page.keyboard.type("Where is the white ring?")
    page.keyboard.press("Enter")
    wait(page, "visiondrop: done")
    assert answer(page) == "bottom left"
    figures = page.locator("#figures-first").inner_text()
    assert "28.0 per LLM layer" in figures and "FLOPs saved" in figures and " ms" in figures
    drawing = page.locator("#kept-first img")
    assert drawing.get_attribute("alt").startswith("What visiondrop kept of the picture: vision encoder 256")
    assert drawing.evaluate("image => image.naturalWidth") > 500
    shot(page, "one")


def test_another_budget_by_keyboard_changes_what_is_kept(page: Any) -> None:
    shown(page, IMAGES / "00000.png")
    page.get_by_label("Question").fill("Where is the white ring?")
    slider = page.get_by_role("slider").first
    slider.focus()
    before = slider.input_value()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert int(slider.input_value()) == int(before) + 4 == 32
    page.get_by_role("button", name="Ask").press("Enter")
    wait(page, "done")
    assert "32.0 per LLM layer" in page.locator("#figures-first").inner_text()


def test_a_conversation_of_several_turns(page: Any) -> None:
    shown(page, IMAGES / "00000.png")
    earlier = page.locator("#earlier")
    for number, (question, wanted) in enumerate(TURNS):
        said(page, question)
        playwright.expect(earlier).to_contain_text(TURNS[number - 1][1] if number else "")
        wait(page, "visiondrop: done")
        assert answer(page) == wanted
        assert earlier.inner_text().split("\n") == ([text for turn in TURNS[:number] for text in turn] or [""])
    known = page.locator("#figures-first").inner_text()
    assert "known before: " in known and "known before: 0 of" not in known  # the picture stands before the first turn
    shot(page, "turns")
    page.get_by_text("Where is the yellow square?").click()  # another picture is another conversation
    playwright.expect(page.get_by_label("Question")).to_have_value("Where is the yellow square?")
    said(page, "Where is the yellow square?")
    playwright.expect(earlier).to_have_text("")
    wait(page, "visiondrop: done")
    page.get_by_role("button", name="New conversation").click()
    playwright.expect(page.locator("#answer-first textarea")).to_have_value("")
    said(page, TURNS[0][0])
    wait(page, "visiondrop: done")
    assert earlier.inner_text() == ""


def said(page: Any, question: str) -> None:
    """Ask by keyboard."""
    page.get_by_label("Question").fill(question)
    page.get_by_label("Question").press("Enter")


def test_two_methods_side_by_side(page: Any) -> None:
    shown(page, IMAGES / "00000.png")
    page.get_by_label("Question").fill("Where is the white ring?")
    page.get_by_label("Compare with a second method").press("Space")
    page.locator("#answer-second").wait_for()
    page.get_by_role("button", name="Ask").click()
    wait(page, "visionzip: done", "second")
    assert answer(page) == "bottom left"
    assert answer(page, "second")
    for which in ("first", "second"):
        assert "28.0 per LLM layer" in page.locator(f"#figures-{which}").inner_text()
    boxes = [page.locator(f"#answer-{which}").bounding_box() for which in ("first", "second")]
    assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] < boxes[1]["x"]
    page.wait_for_timeout(500)
    shot(page, "two")


def test_an_example_fills_picture_and_question(page: Any) -> None:
    page.get_by_text("Where is the yellow square?").click()
    page.get_by_label("Remove Image").first.wait_for()
    assert page.get_by_label("Question").input_value() == "Where is the yellow square?"


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


def test_every_control_has_a_label(page: Any) -> None:
    page.get_by_label("Compare with a second method").check()
    page.locator("#answer-second").wait_for()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('input, textarea, button, select')].filter(one =>
        one.offsetParent && one.type !== 'file' && !(one.labels && one.labels.length && one.labels[0].innerText.trim())
        && !one.getAttribute('aria-label') && !one.title && !one.innerText.trim()).map(one => one.outerHTML)"""
    )
    assert nameless == []


def test_a_narrow_window(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    shown(page, IMAGES / "00000.png")
    page.get_by_label("Question").fill("Where is the white ring?")
    page.get_by_role("button", name="Ask").click()
    wait(page, "done")
    page.wait_for_timeout(500)
    shot(page, "narrow")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


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
