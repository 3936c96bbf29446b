"""What a server answers to bytes, and what a refusal must be."""

import json
import urllib.error
import urllib.request
from typing import Any

from served import Served

HI: dict[str, Any] = {"model": "llava-shapes", "messages": [{"role": "user", "content": "hi"}]}


def post(server: Served, body: bytes, path: str = "/v1/chat/completions") -> tuple[int, dict]:
    request = urllib.request.Request(f"{server.url}{path}", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def refused(status: int, body: dict) -> None:
    assert 400 <= status < 500
    message = body["error"]["message"]
    assert isinstance(message, str) and message and "\n" not in message and len(message) < 1100
    assert "Traceback" not in message and body["error"]["type"] == "invalid_request_error"
