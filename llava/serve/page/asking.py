"""One question under one method: what the page shows while the answer grows, and once what was kept is drawn."""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from llava.errors import InputError, one_line
from llava.serve.page.remote import Heard, Server
from llava.serve.page.words import Turn, body_of, described, figures


@dataclass(frozen=True)
class Panel:
    """What stands beside one method: its state in a word, the answer, figures in Markdown, and the drawing."""

    state: str = ""
    answer: str = ""
    figures: str = ""
    drawing: Image.Image | None = None
    description: str = ""


def asked(
    server: Server,
    model: str,
    picture: str | None,
    question: str | None,
    method: str,
    budget: float,
    earlier: Sequence[Turn] = (),
) -> Iterator[Panel]:
    """Ask; a panel whenever there is more to see. What is refused is the last panel's state, in one sentence."""
    panel = Panel(f"{method}: asking")
    yield panel
    try:
        body = body_of(model, picture, question, method, budget, earlier)
        heard = Heard()
        for heard in server.stream(body):
            panel = replace(panel, state=f"{method}: answering", answer=heard.text)
            yield panel
        panel = replace(panel, state=f"{method}: drawing what was kept")
        yield panel
        yield _finished(panel, method, heard, server.kept(body))
    except InputError as error:
        yield replace(panel, state=f"Error: {one_line(error)}")


def _finished(panel: Panel, method: str, heard: Heard, kept: dict[str, Any]) -> Panel:
    with Image.open(io.BytesIO(base64.b64decode(kept["image"])), formats=("PNG",)) as drawing:
        drawing.load()
    return replace(
        panel, state=f"{method}: done", figures=figures(heard, kept), drawing=drawing, description=described(kept)
    )
