"""The OpenAI-compatible server, asked by OpenAI's own client."""

import threading
import urllib.error
import urllib.request
from typing import Any

import openai
import pytest
from served import SHAPES, Served, data_url, served, user, wait_until

from llava.eval.runs.loading import Loaded
from llava.mm_utils import open_image, process_images, tokenizer_image_token
from llava.reduction import create, method_class


@pytest.fixture
def client(server: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def ask(client: openai.OpenAI, *messages: dict, **more: Any) -> Any:
    return client.chat.completions.create(model="llava-shapes", messages=list(messages), **({"temperature": 0} | more))


def test_the_client_chats_about_a_picture(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["llava-shapes"]
    assert client.models.retrieve("llava-shapes").id == "llava-shapes"
    first = user("Where is the white ring?", data_url())
    answer = ask(client, first)
    assert answer.choices[0].message.content == "bottom left" and answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens_details.image_tokens == 256
    said = {"role": "assistant", "content": "bottom left"}
    again = ask(client, first, said, user("What shape is in the center?"))
    assert again.choices[0].message.content == "cross"
    assert again.usage.prompt_tokens_details.cached_tokens > 256  # the picture was not worked on again


@pytest.mark.parametrize("method", ["none", "visiondrop", "visionzip", "pyramiddrop", "random"])
def test_answers_are_the_runners(client: openai.OpenAI, shapes_model: Loaded, method: str) -> None:
    geometry = shapes_model.model.geometry
    retain = {"none": None, "pyramiddrop": 57}.get(method, 28)
    chosen = create("none") if retain is None else method_class(method).from_budget(retain, geometry)
    named = {"method": method} | ({"retain": retain} if retain else {})
    for number in range(4):
        question = "What shape is in the center?" if number % 2 else "Is there a cross?"
        picture = open_image(SHAPES / f"images/{number:05d}.png")
        prompt = f"{_system(shapes_model)} USER: <image>\n{question} ASSISTANT:"
        ids = tokenizer_image_token(prompt, shapes_model.tokenizer, return_tensors="pt")[None]
        pixels = process_images([picture], shapes_model.processor, shapes_model.model.config)
        new = shapes_model.model.generate(ids, images=pixels, reduction=chosen, do_sample=False, max_new_tokens=16)
        text = shapes_model.tokenizer.decode(new[0], skip_special_tokens=True).strip()
        body = {"extra_body": {"reduction": named}}
        assert ask(client, user(question, data_url(number)), **body).choices[0].message.content == text
        pieces = ask(client, user(question, data_url(number)), stream=True, **body)
        assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == text


def _system(shapes_model: Loaded) -> str:
    from llava.conversation import get_conv_template

    return get_conv_template("vicuna_v1").system


def test_streams_end_with_their_usage(client: openai.OpenAI) -> None:
    pieces = list(
        ask(client, user("Where is the white ring?", data_url()), stream=True, stream_options={"include_usage": True})
    )
    assert pieces[0].choices[0].delta.role == "assistant" and pieces[-2].choices[0].finish_reason == "stop"
    assert pieces[-1].choices == [] and pieces[-1].usage.total_tokens > 256


def test_choices_stops_limits_and_log_probabilities(client: openai.OpenAI) -> None:
    about = user("Where is the white ring?", data_url())
    several = ask(client, about, n=3, temperature=1.0, seed=7)
    assert len(several.choices) == 3
    same = ask(client, about, n=3, temperature=1.0, seed=7)
    assert [c.message.content for c in several.choices] == [c.message.content for c in same.choices]
    assert ask(client, about, stop=" left").choices[0].message.content == "bottom"
    short = ask(client, about, max_tokens=1).choices[0]
    assert (short.message.content, short.finish_reason) == ("bottom", "length")
    told = ask(client, about, logprobs=True, top_logprobs=2).choices[0].logprobs.content
    assert told[0].token.strip() == "bottom" and len(told[0].top_logprobs) == 2 and told[0].logprob > -1


def test_errors_are_the_clients_exceptions(client: openai.OpenAI, shapes_model: Loaded) -> None:
    with pytest.raises(openai.NotFoundError, match="is not here"):
        client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "hi"}])
    with pytest.raises(openai.BadRequestError, match="do not fit into the model's context") as caught:
        ask(client, user("hi " * 5000))
    assert caught.value.code == "context_length_exceeded"
    with served(shapes_model, keys=("secret",)) as guarded:
        wrong, right = (openai.OpenAI(base_url=f"{guarded.url}/v1", api_key=key) for key in ("guess", "secret"))
        with pytest.raises(openai.AuthenticationError, match="API key"):
            ask(wrong, user("hi"))
        assert ask(right, user("hi"), max_tokens=2).choices


def test_a_full_queue_and_a_server_that_ends_refuse(shapes_model: Loaded) -> None:
    with served(shapes_model, most_waiting=1) as small:
        client = openai.OpenAI(base_url=f"{small.url}/v1", api_key="none", max_retries=0)
        with pytest.raises(openai.RateLimitError, match="waiting already"):
            ask(client, user("hi"), n=2)
        small.settings.draining = True
        with pytest.raises(openai.InternalServerError, match="shutting down"):
            ask(client, user("hi"))
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"{small.url}/health")


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_its_row(
    server: Served, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    monkeypatch.setattr(server.engine, "_ends", [])  # an answer that would go on for long
    monkeypatch.setattr("llava.serve.api.asking.Asker._longest", lambda _: 10**6)
    if stream:
        pieces = ask(client, user("hi"), stream=True, max_tokens=10**5)
        next(iter(pieces))
        wait_until(lambda: server.engine.running == 1)  # a row joins after its first token was said
        pieces.close()
    else:
        with pytest.raises(openai.APITimeoutError):
            ask(client.with_options(timeout=3), user("hi"), max_tokens=10**5)
    wait_until(lambda: server.engine.running == server.engine.waiting == 0)


def test_many_at_once_get_their_own_answers(server: Served, client: openai.OpenAI) -> None:
    questions = ["What shape is in the center?", "Where is the white ring?", "Is there a cross?"]
    alone = {
        (number, text): ask(client, user(text, data_url(number))).choices[0].message.content
        for number in range(4)
        for text in questions
    }
    wrong: list = []

    def one(number: int, text: str) -> None:
        if ask(client, user(text, data_url(number))).choices[0].message.content != alone[number, text]:
            wrong.append((number, text))

    threads = [threading.Thread(target=one, args=key) for key in list(alone) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    wait_until(lambda: server.engine.running == server.engine.waiting == 0)  # a row goes after its last word
