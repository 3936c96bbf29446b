"""The application on Ray Serve, started as its documentation says, with two replicas on this machine."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
from served import SHAPES, data_url, user, wait_until

pytest.importorskip("ray", reason="Ray has an environment of its own: make test-ray")
import psutil
import yaml
from safetensors.torch import load_file, save_file

from llava.errors import InputError
from llava.serve.ray_app import build

SHIPPED = Path("llava/serve/ray_app.yaml")
QUESTIONS = ["What shape is in the center?", "Where is the white ring?", "Is there a cross?"]
REPLICA = "ray::ServeReplica:visiondrop:Replica"
SECONDS = 600  # a busy machine takes its time


class Cluster:
    """Ray on this machine with the application.

    Attributes:
        url: of the server.
        process: `serve run`.
    """

    def __init__(self, url: str, process: psutil.Process) -> None:
        self.url, self.process = url, process

    def replicas(self) -> list[psutil.Process]:
        """The replicas' processes, as Ray names them."""
        found = []
        for child in self.process.children(recursive=True):
            try:
                if " ".join(child.cmdline()).startswith(REPLICA):
                    found.append(child)
            except psutil.NoSuchProcess:
                continue
        return found

    def client(self) -> openai.OpenAI:
        """OpenAI's own, which does not ask again by itself."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0)


def endless(folder: Path) -> Path:
    """A copy of the small model whose answers go on: the row of the end token is that of one never said."""
    shutil.copytree(SHAPES / "llava-shapes", folder)
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"][2] = weights["lm_head.weight"][3]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def configuration(port: int, checkpoint: Path) -> dict[str, Any]:
    """The shipped file's, for a small model on two CPU replicas."""
    told = yaml.safe_load(SHIPPED.read_text())
    told["http_options"]["port"] = port
    (application,) = told["applications"]
    application["args"] = {"model-path": str(checkpoint), "method": "visionzip", "retain": 28}
    application["args"] |= {"device": "cpu", "served-model-name": "shapes", "max-new-tokens": 8}
    front, replica = application["deployments"]
    front["num_replicas"], front["ray_actor_options"] = 1, {"num_cpus": 0.1}
    del replica["autoscaling_config"]
    replica["num_replicas"], replica["ray_actor_options"] = 2, {"num_cpus": 0.1}
    return told


def begun(folder: Path, url: str) -> subprocess.Popen:
    """`serve run`, once Ray has begun to serve.

    Ray gives its proxy one minute, in which a fresh environment on a busy machine has not imported it: twice again.
    """
    serve = Path(sys.executable).with_name("serve")
    more = {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}
    more |= {f"RAY_SERVE_PROXY_{check}_CHECK_TIMEOUT_S": "60" for check in ("READY", "HEALTH")}
    for _ in range(3):
        with (folder / "log").open("wb") as log:
            command = [serve, "run", folder / "app.yaml"]
            started = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **more})
        wait_until(lambda started=started: started.poll() is not None or bool(answering(url)), SECONDS)
        if started.poll() is None:
            break
    return started


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("ray")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "app.yaml").write_text(yaml.safe_dump(configuration(port, endless(folder / "llava-shapes"))))
    url = f"http://127.0.0.1:{port}"
    started = begun(folder, url)
    running = psutil.Process(started.pid)
    try:
        wait_until(lambda: started.poll() is not None or len(answering(url)) == 2, SECONDS)
        assert started.poll() is None, (folder / "log").read_text()[-3000:]
        yield Cluster(url, running)
    finally:
        children = running.children(recursive=True) if started.poll() is None else []
        started.send_signal(signal.SIGINT)
        try:
            started.wait(60)
        except subprocess.TimeoutExpired:
            started.kill()
        _, left = psutil.wait_procs(children, timeout=30)
        for child in left:
            child.kill()


def answering(url: str) -> dict[str, int]:
    """The replicas that answer now, and the answers each has to make; asked at once, or an idle one says it all."""

    def headers(_: int) -> Any:
        return urllib.request.urlopen(f"{url}/health", timeout=30).headers

    with contextlib.suppress(OSError), ThreadPoolExecutor(16) as pool:
        return {each["x-replica"]: int(each["x-replica-busy"]) for each in pool.map(headers, range(32))}
    return {}


def ask(client: openai.OpenAI, picture: int, question: str, **more: Any) -> Any:
    messages = [user(question, data_url(picture))]
    return client.chat.completions.with_raw_response.create(
        model="shapes",
        messages=messages,
        temperature=0,
        **more,  # type: ignore[arg-type]
    )


def text_of(client: openai.OpenAI, picture: int, question: str, stream: bool = False) -> str:
    answer = ask(client, picture, question, stream=stream).parse()
    if not stream:
        return answer.choices[0].message.content
    return "".join(piece.choices[0].delta.content or "" for piece in answer)


def test_answers_streams_and_errors_are_the_servers(cluster: Cluster) -> None:
    client = cluster.client()
    assert [model.id for model in client.models.list()] == ["shapes"]
    assert text_of(client, 0, "Where is the white ring?") == text_of(client, 0, "Where is the white ring?", True) != ""
    with pytest.raises(openai.NotFoundError, match="is not here"):
        client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "hi"}])
    with pytest.raises(openai.BadRequestError, match="max_tokens"):
        ask(client, 0, "hi", max_tokens=0)
    for path, content, status in [
        ("/v1/chat/completions", b"{", 400),
        ("/metrics", None, 404),
        ("/nowhere", None, 404),
    ]:
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(urllib.request.Request(cluster.url + path, content))
        assert caught.value.code == status and b'"error":{"message":' in caught.value.read().replace(b" ", b"")


def test_a_picture_stays_with_the_replica_that_knows_it(cluster: Cluster) -> None:
    client = cluster.client()
    first = [ask(client, picture, QUESTIONS[0]).headers["x-replica"] for picture in range(8)]
    assert len(set(first)) == 2  # both work
    time.sleep(2)  # until the front has heard who has what
    for question in QUESTIONS[1:]:
        for picture in range(8):
            answer = ask(client, picture, question)
            assert answer.headers["x-replica"] == first[picture]
            assert answer.parse().usage.prompt_tokens_details.cached_tokens > 0


def test_a_client_that_goes_away_frees_its_rows(cluster: Cluster) -> None:
    told = {"max_tokens": 1500, "temperature": 0, "n": 16}
    for stream in (True, False):
        client = cluster.client().with_options(timeout=4)
        with contextlib.suppress(openai.APITimeoutError):
            answer = client.chat.completions.create(model="shapes", messages=[user("Go on.")], stream=stream, **told)
            assert stream and next(iter(answer))
            wait_until(lambda: sum(answering(cluster.url).values()) > 8)
            answer.close()
        wait_until(lambda: not any(answering(cluster.url).values()), SECONDS)


def test_a_replica_killed_under_load_loses_no_request_and_comes_back(cluster: Cluster) -> None:
    client = cluster.client()
    expected = {
        (picture, question): text_of(client, picture, question) for picture in range(6) for question in QUESTIONS
    }
    answered, refused, wrong = [], [], []

    def work(number: int) -> None:
        for turn in range(24):
            picture, question = (number + turn) % 6, QUESTIONS[turn % 3]
            try:
                said = text_of(client, picture, question, stream=bool((number + turn) % 2))
                (answered if said == expected[picture, question] else wrong).append(said)
            except openai.APIError as error:
                refused.append(error)

    clients = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in clients:
        thread.start()
    wait_until(lambda: len(answered) > 20)
    before = {replica.pid for replica in cluster.replicas()}
    killed = min(before)
    os.kill(killed, signal.SIGKILL)
    for thread in clients:
        thread.join(SECONDS)
    assert not any(thread.is_alive() for thread in clients) and not wrong
    assert len(answered) + len(refused) == 8 * 24 and len(refused) <= 8  # a stream that had begun, one of each client
    wait_until(lambda: len({replica.pid for replica in cluster.replicas()} - {killed}) == 2, SECONDS)
    wait_until(lambda: len(answering(cluster.url)) == 2, SECONDS)
    assert text_of(client, 0, QUESTIONS[0]) == expected[0, QUESTIONS[0]]


def test_a_stream_whose_replica_is_killed_ends_with_an_error(cluster: Cluster) -> None:
    client = cluster.client()
    long = {"model": "shapes", "messages": [user("Go on.")], "max_tokens": 1500, "temperature": 0}
    stream = client.chat.completions.create(stream=True, **long)
    next(iter(stream))
    for replica in cluster.replicas():
        replica.kill()
    with pytest.raises(openai.APIError, match="the replica that wrote this answer was lost"):
        list(stream)
    assert text_of(client, 0, QUESTIONS[1])  # waits until one is back
    wait_until(lambda: len(answering(cluster.url)) == 2, SECONDS)


def test_settings_are_refused_before_anything_starts() -> None:
    with pytest.raises(InputError, match="unrecognized arguments: --retian=28"):
        build({"retian": 28})
    with pytest.raises(InputError, match="invalid choice: 'visiondorp'"):
        build({"method": "visiondorp"})
