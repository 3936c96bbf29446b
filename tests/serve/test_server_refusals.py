"""What the server refuses: each in one sentence, in OpenAI's form, and it stays up."""

import json
import re
from typing import Any

import pytest
from refusals import HI, post, refused
from served import Served, data_url, user

from llava.serve.api.errors import Refusal
from llava.serve.api.schema import NOT_DONE, read_request

SHOWS = {"content": [{"type": "image_url", "image_url": {"url": data_url()}}]}
BAD_BODIES: list[bytes] = [
    *(b"", b"{", b"null", b"[]", b'"hi"', b"\xff\xfe", b"[" * 100_000, b"{}" * 2, b'{"model": NaN}', b"9" * 5000),
    *(b"\0" * 9, b'{"a":' * 90_000 + b"1" + b"}" * 90_000, b"\x1f\x8b" + b"x" * 50, b'{"max_tokens": -Infinity}'),
    *(b'{"model": "\\ud800"}', b"<html></html>", b"a=b", b'{"a": 1e999}'),
]
BAD_FIELDS: list[dict[str, Any]] = [
    *({"model": None}, {"model": 5}, {"messages": None}, {"messages": []}, {"messages": "hi"}, {"messages": [5]}),
    *({"messages": [{"role": "user"}]}, {"messages": [{"role": "king", "content": "hi"}]}),
    {"messages": [{"role": "assistant", "content": "hi"}]},
    {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]},
    {"messages": [{"role": "user", "content": ""}]},
    {"messages": [{"role": "user", "content": []}]},
    {"messages": [{"role": "user", "content": "what is <image>?"}]},
    {"messages": [{"role": "system", "content": "be good"}]},
    {"messages": [{"role": "user", "content": [{"type": "video", "video": "x"}]}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
    *({"max_tokens": 0}, {"max_tokens": -1}, {"max_tokens": 1.5}, {"max_tokens": "9"}, {"max_tokens": 10**9}),
    *({"temperature": -1}, {"temperature": 3}, {"temperature": "hot"}, {"top_p": 0}, {"top_p": 2}, {"n": 0}, {"n": 99}),
    *(
        {"stop": ""},
        {"stop": [""]},
        {"stop": 5},
        {"stop": ["a"] * 9},
        {"stop": {}},
        {"stop": [1]},
        {"stop": [None]},
        {"stop": ["x" * 1000]},
        {"seed": 1.5},
        {"seed": 2**70},
        {"stream": "yes"},
    ),
    *({"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 99}, {"stream_options": 5}, {"reduction": 5}),
    *({"reduction": "nothing"}, {"reduction": {}}, {"reduction": {"method": "visiondrop", "retain": -1}}),
    {"reduction": {"method": "visiondrop", "retain": 10**9}},
    {"reduction": {"method": "visiondrop", "dominant": "x"}},
    {"reduction": {"method": "visionzip", "dominant": 10**6, "contextual": 1}},
    {"messages": [{"role": "tool", "content": "hi"}]},
    {"messages": [{"role": "user", "content": None}]},
    {"messages": [{"role": "user", "content": " \n"}]},
    {"messages": [{"role": "user", "content": ["hi"]}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]},
    {"messages": [{"role": "user", "content": "hello " * 10_000}]},
    {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}] * 600},
    {"messages": [SHOWS | {"role": "system"}, {"role": "user", "content": "hi"}]},
    {"messages": [{"role": "user", "content": "hi"}, SHOWS | {"role": "assistant"}, {"role": "user", "content": "hi"}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": {}}}]}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x", "detail": "huge"}}]}]},
    *({"n": 10**6}, {"n": -1}, {"n": 2.0}, {"n": True}, {"ignore_eos": "yes"}, {"logprobs": 5}, {"stream": 1}),
    *({"reduction": []}, {"reduction": {"method": None}}, {"reduction": {"method": "__class__"}}),
    {"reduction": {"method": "visiondrop", "retain": 28.5}},
    {"reduction": {"method": "visiondrop", "retain": True}},
    {"reduction": {"method": "visiondrop", "retain": 28, "x": 1}},
    {"reduction": {"method": "random", "keep": 10, "seed": "x"}},
    {"reduction": {"method": "fastv", "mode": "mask"}, "messages": [SHOWS | {"role": "user"}]},
    *({"tools": [{}]}, {"logit_bias": {"5": 1}}, {"response_format": {"type": "json_object"}}, {"presence_penalty": 1}),
]


@pytest.mark.parametrize("number", range(len(BAD_BODIES)))
def test_bodies_that_are_no_request(server: Served, number: int) -> None:
    refused(*post(server, BAD_BODIES[number]))


@pytest.mark.parametrize("fields", BAD_FIELDS, ids=lambda fields: json.dumps(fields)[:60])
def test_fields_that_cannot_be(server: Served, fields: dict) -> None:
    refused(*post(server, json.dumps(HI | fields).encode()))


def test_what_asks_for_nothing_is_taken(server: Served) -> None:
    idle = {name: values[0] for name, values in NOT_DONE.items()}
    status, body = post(server, json.dumps(HI | idle | {"max_tokens": 1, "user": "me"}).encode())
    assert status == 200, body


def test_a_complaint_is_about_what_was_meant() -> None:
    said = {
        "stop: List should have at most 4 items after validation, not 5": {"stop": list("abcde")},
        "stop: Input should be a valid string or Input should be a valid list": {"stop": {}},
        "messages.0.content.0.image_url.detail: Input should be 'auto', 'low' or 'high'": {
            "messages": [user("hi", "x") | {"content": [{"type": "image_url", "image_url": {"url": "", "detail": ""}}]}]
        },
        "messages.0.content.0.text: Input should be a valid string": {
            "messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]
        },
    }
    for sentence, fields in said.items():
        with pytest.raises(Refusal, match=re.escape(sentence)):
            read_request(HI | fields)
