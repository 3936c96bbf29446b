"""The page in a real Chromium: upload, ask, change the budget, go on asking, compare."""

from typing import Any

import pytest
from browser_page import IMAGES, answer, playwright, said, shot, shown, wait

TURNS = [
    ("Where is the white ring?", "bottom left"),
    ("What shape is in the center?", "cross"),
    ("Is there a cross?", "yes"),
]
pytestmark = pytest.mark.slow


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
