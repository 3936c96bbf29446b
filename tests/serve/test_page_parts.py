"""What the page says and sends, without a browser."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from slow_server import SlowServer

from llava.errors import InputError
from llava.serve.page.asking import asked
from llava.serve.page.remote import Heard, Server
from llava.serve.page.words import (
    about_model,
    body_of,
    check_address,
    described,
    example_files,
    figures,
    plain,
    reduction_of,
    transcript,
)
from llava.serve.web import server_at

KEPT: dict[str, Any] = {
    "reduction": {"method": "visiondrop"},
    "stages": [
        {"layer": 0, "entering": 576, "tokens": 48, "merged": 6},
        {"layer": 8, "entering": 48, "tokens": 35, "merged": 0},
    ],
    "average_tokens": 41.5,
    "prefill_flops": 2e9,
    "unreduced_flops": 8e9,
}
USAGE = {"prompt_tokens": 86, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 75}}


def test_figures_are_those_that_were_told() -> None:
    assert figures(Heard("yes", 0.25, 0.5, USAGE), KEPT).split("\n") == [
        "- **image tokens:** vision encoder 576 \u2192 48 (6 merged); after LLM layer 8 48 \u2192 35",
        "- **image tokens on average:** 41.5 per LLM layer",
        "- **first token after:** 250 ms",
        "- **whole answer after:** 500 ms, 3 tokens",
        "- **known before:** 75 of 86 decoder inputs",
        "- **LLM prefill:** 2.00 GFLOPs instead of 8.00 GFLOPs",
        "- **FLOPs saved:** 75 % (4.0x fewer)",
    ]
    assert described(KEPT).endswith("vision encoder 576 \u2192 48 (6 merged); after LLM layer 8 48 \u2192 35")


def test_only_the_shipped_model_is_said_to_know_shapes_only() -> None:
    assert "shapes" in about_model("llava-shapes").replace("llava\\-shapes", "")
    assert about_model("llava-v1.5-7b") == "Model: **llava\\-v1\\.5\\-7b**."
    assert plain("<b>*x*") == "\\<b\\>\\*x\\*"


def test_a_later_question_brings_the_conversation_along(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    turns = [("What?", "a <ring>"), ("Where?", "")]
    messages = body_of("m", str(tmp_path / "a"), "Why?", "none", 1, turns)["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2 + ["user"]
    assert [part["type"] for part in messages[0]["content"]] == ["image_url", "text"]
    assert [message["content"] for message in messages[1:]] == ["a <ring>", "Where?", "", "Why?"]
    shown = transcript(turns)
    assert "a &lt;ring&gt;" in shown and "(nothing)" in shown and transcript([]) == ""


def test_a_request_holds_the_file_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\x00\xff")
    body = body_of("m", str(tmp_path / "a"), "What?", "visiondrop", 32.0)
    assert (
        body["messages"][0]["content"][0]["image_url"]["url"]
        == "data:;base64," + base64.b64encode(b"\x00\xff").decode()
    )
    assert body["reduction"] == {"method": "visiondrop", "retain": 32}
    assert reduction_of("none", 32) == "none"


@pytest.mark.parametrize(("picture", "question"), [(None, "What?"), ("x.png", None), ("x.png", " \n")])
def test_half_a_request_is_refused(picture: str | None, question: str | None) -> None:
    with pytest.raises(InputError, match="an answer needs a (picture|question)"):
        body_of("m", picture, question, "none", 1)


def test_examples_are_those_that_are_there(tmp_path: Path) -> None:
    assert example_files(str(tmp_path)) == []
    (tmp_path / "00001.png").touch()
    assert example_files(str(tmp_path)) == [[str(tmp_path / "00001.png"), "What color is the cross?"]]


def test_an_address_has_a_scheme_and_no_flags_beside_it() -> None:
    with pytest.raises(InputError, match="must begin with http"):
        check_address("localhost:8000")
    with pytest.raises(InputError, match="--retain"), server_at("http://x", "", ["--retain", "3"]):
        pass


@pytest.mark.parametrize("told", [{"id": "gpt"}, {"reduction": {}}, 3])
def test_another_programs_server_is_refused(told: Any) -> None:
    with SlowServer() as server:
        server.model = told
        with pytest.raises(InputError, match="name the address of a llava.serve.server"):
            Server(server.url).model()


def test_a_server_that_is_gone_is_said_in_the_panel(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    with SlowServer() as server:
        url = server.url
    *_, last = asked(Server(url), "m", str(tmp_path / "a.png"), "What?", "none", 1)
    assert last.state.startswith(f"Error: a server must answer at {url}: it does not")


def test_a_path_before_v1_is_kept() -> None:
    with SlowServer() as server:
        assert Server(f"{server.url}/v1/").model()["id"] == "slow"
        assert server.paths == ["/v1/models"]
        assert Server(f"{server.url}/behind/proxy").model()["id"] == "slow"
        assert server.paths[1:] == ["/behind/proxy/v1/models"]


def test_pieces_add_up_and_the_first_is_timed() -> None:
    heard = Heard()
    for seconds, piece in enumerate(["", "a", "b"]):
        heard = heard.with_event({"choices": [{"delta": {"content": piece}}]}, float(seconds))
    heard = heard.with_event(json.loads('{"choices": [], "usage": {"prompt_tokens": 1}}'), 3.0)
    assert heard == Heard("ab", 1.0, 3.0, {"prompt_tokens": 1})
