"""`/v1/kept`: what was kept is what the method's schedule says, drawn as a PNG; other requests are refused."""

import base64
import io
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from served import Served, data_url, user

from llava.eval.pictures.canvas import Canvas, Rect
from llava.eval.pictures.kept_figure import MethodRow, draw, legend
from llava.eval.pictures.kept_tokens import Stage, Token
from llava.reduction import create, resolve
from llava.reduction.schedule import DecoderShape, average_tokens, prefill_flops

QUESTION = "Where is the white ring?"


def kept(server: Served, *messages: dict, **more: Any) -> dict[str, Any]:
    body = json.dumps({"model": "llava-shapes", "messages": messages, **more}).encode()
    request = urllib.request.Request(f"{server.url}/v1/kept", body)
    with urllib.request.urlopen(request) as response:
        return json.load(response)


@pytest.mark.parametrize("method", ["none", "visiondrop", "pyramiddrop"])
def test_counts_are_the_schedules(server: Served, shapes_model: Any, method: str) -> None:
    named: Any = method if method == "none" else {"method": method, "retain": 40}
    told = kept(server, user(QUESTION, data_url()), reduction=named)
    geometry = shapes_model.model.geometry
    made = resolve(named, geometry)
    assert [stage["tokens"] for stage in told["stages"]] == made.tokens_per_stage(geometry)
    assert [stage["layer"] for stage in told["stages"]] == [0, *made.layers]
    assert told["average_tokens"] == average_tokens(made, geometry)
    shape = DecoderShape.of(shapes_model.model.config)
    assert told["prefill_flops"] == prefill_flops(shape, made, geometry, told["text_tokens"])
    assert told["unreduced_flops"] == prefill_flops(shape, create("none"), geometry, told["text_tokens"])
    assert told["reduction"]["method"] == method
    with Image.open(io.BytesIO(base64.b64decode(told["image"]))) as drawing:
        assert drawing.format == "PNG" and drawing.width > drawing.height / 2


def test_what_is_merged_is_counted(server: Served) -> None:
    told = kept(server, user(QUESTION, data_url()), reduction={"method": "visiondrop", "retain": 28})
    assert [stage["merged"] for stage in told["stages"]] == [5, 6, 6, 5]


@pytest.mark.parametrize("text", ["It costs $5_ and $6^", "$\\frac$"])
def test_any_question_and_answer_can_be_drawn(tmp_path: Path, text: str) -> None:
    stage = Stage(0, (Token(0, 0),), 4, np.zeros((1, 4), dtype=np.float32))
    place = Rect(0, 0, 8, 8)
    picture = Image.new("RGB", (8, 8))
    path = tmp_path / "kept.png"
    draw(picture, Canvas((place,), (place,)), 2, [MethodRow("none", f"answer: {text}", [stage])], text, str(path))
    with Image.open(path) as drawn:
        assert drawn.format == "PNG" and drawn.width > 100


@pytest.mark.parametrize("urls", [(), (data_url(0), data_url(1))])
def test_other_than_one_picture_is_refused(server: Served, urls: tuple[str, ...]) -> None:
    with pytest.raises(urllib.error.HTTPError) as error:
        kept(server, user(QUESTION, *urls))
    assert error.value.code == 400
    assert json.load(error.value)["error"]["message"].startswith("what was kept is drawn of one picture")


def test_what_it_can_do_is_said_with_the_model(server: Served) -> None:
    with urllib.request.urlopen(f"{server.url}/v1/models") as response:
        told = json.load(response)["data"][0]["reduction"]
    assert told["most_tokens"] == 256
    assert {"none", "visiondrop", "visionzip", "pyramiddrop"} <= set(told["methods"])


def test_the_legend_fits_a_narrow_figure() -> None:
    assert max(map(len, legend(4.0).split("\n"))) <= 60
    assert legend(4.0).split() == legend(12.0).split()
