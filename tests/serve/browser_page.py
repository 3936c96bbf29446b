"""The page in a tab of a real Chromium, and what a person does there. Whoever imports this is skipped without one."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; make web-test has it")
pytest.importorskip("gradio", reason="gradio is not installed; make web-test has it")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("there is no Chromium on this machine (Debian: apt-get install chromium)", allow_module_level=True)

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "playground/shapes/images"
SHOTS = os.environ.get("WEB_SHOTS")  # a folder for screenshots to look at


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


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Debian's Chromium."""
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


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


def said(page: Any, question: str) -> None:
    """Ask by keyboard."""
    page.get_by_label("Question").fill(question)
    page.get_by_label("Question").press("Enter")
