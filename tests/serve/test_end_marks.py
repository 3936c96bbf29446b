"""Answers in chat and of the server end at the template's end mark, also one that is spelt over several tokens."""

import dataclasses

import openai
import pytest
from conftest import PARITY, Load
from served import data_url, served, shipped, user

from llava.conversation import conv_templates
from llava.eval.runs.loading import Loaded
from llava.files.pictures import open_image
from llava.reduction import create
from llava.serve.api.prompt import prompt_of
from llava.serve.api.schema import Message
from llava.serve.chat import Chat
from llava.serve.cli import talk

GREEDY = {"do_sample": False, "max_new_tokens": 10}


def ends_with(monkeypatch: pytest.MonkeyPatch, mark: str) -> str:
    """The name of a template like `vicuna_v1`, whose answers end with a mark of a test's choice."""
    monkeypatch.setitem(conv_templates, "odd", dataclasses.replace(conv_templates["vicuna_v1"].copy(), sep2=mark))
    return "odd"


def test_a_chat_neither_takes_nor_prints_what_follows_the_mark(
    load: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    loaded = load("llava-tiny-12l")
    parts = Loaded(loaded.tokenizer, loaded.model, loaded.processor)

    def chat(template: str) -> Chat:
        made = Chat(parts, template, GREEDY, create("none"))
        made.show(open_image(PARITY / "images/0.png"))
        return made

    free = chat("vicuna_v1").ask("What is this?")
    mark = free.text[len(free.text) // 2 :][:3]
    assert len(mark.strip()) == 3
    before = free.text[: free.text.find(mark)].strip()
    odd = chat(ends_with(monkeypatch, mark))
    assert mark in odd.stops.spelt
    turn = odd.ask("What is this?")
    assert turn.text == before and turn.complete
    assert odd.conversation.messages[1] == ["ASSISTANT", before or " "]
    lines = iter(["What is this?"])
    capsys.readouterr()
    talk(chat("odd"), lambda: next(lines, None) or (_ for _ in ()).throw(EOFError()))
    assert capsys.readouterr().out == f"{before}\n"


def test_the_server_ends_an_answer_at_the_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, question = shipped(), user("Describe the picture.", data_url())
    asked = {"model": "llava-shapes", "messages": [question], "temperature": 0, "max_tokens": 24}

    def answers(template: str) -> list[tuple[str, str]]:
        with served(loaded, most_rows=4, conv_mode=template) as server:
            client = openai.OpenAI(base_url=server.url + "/v1", api_key="-", max_retries=0)
            whole = client.chat.completions.create(**asked).choices[0]
            pieces = [piece.choices[0] for piece in client.chat.completions.create(**asked, stream=True)]
            streamed = "".join(piece.delta.content or "" for piece in pieces)
            return [(whole.message.content, whole.finish_reason), (streamed, pieces[-1].finish_reason)]

    free = answers("vicuna_v1")[0][0]
    mark = free[len(free) // 2 :][:3]
    before = free[: free.find(mark)].strip()
    assert answers(ends_with(monkeypatch, mark)) == [(before, "stop")] * 2


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        ("vicuna_v1", "Be brief. USER: Q ASSISTANT:"),
        ("qwen_1_5", "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"),
        (
            "chatml_direct",
            "<|im_start|>system\nBe brief.<|im_end|><|im_start|>user\nQ<|im_end|><|im_start|>assistant\n",
        ),
    ],
)
def test_a_system_message_stays_one(template: str, prompt: str) -> None:
    said = [Message(role="system", content="Be brief."), Message(role="user", content="Q")]
    assert prompt_of(said, template, False).text == prompt
