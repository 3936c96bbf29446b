"""The loop that answers requests: newcomers are prefilled between two tokens of those that are running."""

import threading
import traceback
from collections import deque
from collections.abc import Hashable, Iterable
from random import Random
from typing import Any

import torch

from llava.errors import InputError, one_line
from llava.eval.runs.memory import is_out_of_memory
from llava.model.generation.prefix import ImagePrefix, question_after, split_prompt
from llava.model.generation.prefix_store import PrefixStore
from llava.serve.engine.batch import Batch, Row
from llava.serve.engine.request import End, Request
from llava.serve.engine.text import Growing, Writer

# Tokens of questions that are prefilled between two steps. More would cost as much for each, and keep those who run
# waiting; and where everybody was begun at once everybody ends at once, so that HTTP and the model wait for each other.
TOGETHER = 400


class Engine:
    """Answers requests in a thread of its own. Use as a context manager.

    Args:
        loaded: the model with its tokenizer and image processor.
        prefix_bytes: of image prefixes kept for later requests.
        most_rows: requests answered at once; others wait.
    """

    def __init__(self, loaded: Any, prefix_bytes: int, most_rows: int = 64) -> None:
        self.loaded, self.most_rows = loaded, most_rows
        ends = loaded.model.generation_config.eos_token_id
        self._ends = ends if isinstance(ends, list) else [] if ends is None else [ends]
        self._store, self._writer = PrefixStore(prefix_bytes), Writer(loaded.tokenizer)
        self._waiting: deque[Request] = deque()
        self._batches: dict[str, Batch] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.encoded, self.reused = 0, 0  # image prefixes made, and taken from the store

    def __enter__(self) -> "Engine":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Answer what has been asked, take nothing more, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    @property
    def ends(self) -> tuple[int, ...]:
        """Ids that end every answer: the checkpoint's."""
        return tuple(self._ends)

    @property
    def waiting(self) -> int:
        """Requests that nobody has begun to answer."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Requests that are being answered."""
        return sum(len(batch.rows) for batch in list(self._batches.values()))

    @property
    def prefix_bytes(self) -> int:
        """Bytes of image prefixes in the store."""
        return self._store.nbytes

    def submit(self, request: Request) -> None:
        """Queue a request. Its events come through `request.emit`.

        Raises:
            InputError: once the engine is closing.
        """
        with self._changed:
            if self._closing:
                raise InputError("the server is shutting down and takes no more requests; ask another one")
            self._waiting.append(request)
            self._changed.notify()

    def _run(self) -> None:
        with torch.inference_mode():
            while True:
                if not self._wait():
                    return
                if not self._batches:
                    self._begin(self._take())
                for name in list(self._batches):
                    self._step(name)
                    self._begin(self._take())  # whoever came meanwhile waits for one method's token, not for all

    def _wait(self) -> bool:
        """Wait while there is nothing to do; False: closed, and all is answered."""
        with self._changed:
            while not self._waiting and not self.running:
                if self._closing:
                    return False
                self._changed.wait()
        return True

    def _begin(self, newcomers: list[Request]) -> None:
        for name, group in _by_method(newcomers):
            self._admit(self._batches.setdefault(name, Batch(self.loaded.model, self._ends)), group)

    def _take(self) -> list[Request]:
        """Requests to begin with now. Those whose client has gone leave the queue."""
        with self._changed:
            gone = [request for request in self._waiting if request.cancelled]
            if gone:
                self._waiting = deque(request for request in self._waiting if not request.cancelled)
            taken = self._first(self.most_rows - self.running)
        for request in gone:
            request.emit(End("cancelled"))
        return taken

    def _first(self, room: int) -> list[Request]:
        """The first of the queue, so many at most and of so many tokens that those who run are not held up long."""
        taken: list[Request] = []
        tokens = 0
        while self._waiting and len(taken) < room:
            tokens += len(split_prompt(self._waiting[0].ids)[1])
            if taken and tokens > TOGETHER:
                break
            taken.append(self._waiting.popleft())
        return taken

    def _admit(self, batch: Batch, requests: list[Request]) -> None:
        """Prefill newcomers and let them join; where together they cannot, each by itself."""
        try:
            rows, cache, logits = self._prefill(requests)
        except Exception as error:
            if len(requests) > 1:
                for request in requests:
                    self._admit(batch, [request])
            else:
                requests[0].emit(failure(error))
            return
        try:
            batch.join(rows, cache, logits)
        except Exception as error:
            batch.fail_newcomers(rows, failure(error).error)

    def _prefill(self, requests: list[Request]) -> tuple[list[Row], Any, torch.Tensor]:
        model, method = self.loaded.model, requests[0].reduction
        known: set[Hashable] = set()
        prefixes = self._prefixes(requests, known)
        asked = [question_after(prefix, request.ids) for prefix, request in zip(prefixes, requests)]
        cache, logits, lengths = model.prefill(prefixes, asked, method)
        rows = []
        for request, prefix, question, own in zip(requests, prefixes, asked, lengths):
            images = prefix.image_lengths if prefix is not None else ()
            prompt = len(request.ids) - len(images) + sum(images)
            cached = prompt - len(question) if _key(request) in known else 0
            usage = End("stop", prompt, sum(images), cached)
            text = Growing(self._writer, request.sampling.stop)
            rows.append(Row(request, text, Random(request.sampling.seed), usage, own))
        return rows, cache, logits

    def _prefixes(self, requests: list[Request], known: set[Hashable]) -> list[ImagePrefix | None]:
        """The prefix of each request; new ones are encoded together and kept. `known`: keys that were there."""
        found: dict[Hashable, ImagePrefix] = {}
        new: dict[Hashable, Request] = {}
        for request in requests:
            key = _key(request)
            prefix = self._store.get(key) if request.pictures and key not in new else None
            if prefix is not None:
                found[key] = prefix
                known.add(key)
                self.reused += 1
            elif request.pictures:
                new[key] = request
        if new:
            shown = [picture for request in new.values() for picture in request.pictures]
            made = self.loaded.model.encode_prefixes(
                [request.ids for request in new.values()],
                [picture.pixels for picture in shown],
                [picture.size for picture in shown],
                next(iter(new.values())).reduction,
                [picture.modality for picture in shown],
            )
            for key, prefix in zip(new, made):
                found[key] = prefix
                self._store.put(key, prefix)
            self.encoded += len(new)
        return [found[_key(request)] if request.pictures else None for request in requests]

    def _step(self, name: str) -> None:
        batch = self._batches[name]
        try:
            batch.step()
        except Exception as error:
            batch.fail(failure(error).error)
        if not batch.rows:
            del self._batches[name]


def _by_method(requests: Iterable[Request]) -> list[tuple[str, list[Request]]]:
    groups: dict[str, list[Request]] = {}
    for request in requests:
        groups.setdefault(repr(request.reduction), []).append(request)
    return list(groups.items())


def _key(request: Request) -> Hashable:
    """A prefix is of its pictures, of the text around them and of a method, and perhaps of the question."""
    start = tuple(request.ids) if request.reduction.question_at_encoder else split_prompt(request.ids)[0]
    return tuple(picture.key for picture in request.pictures), start, repr(request.reduction)


def failure(error: Exception) -> End:
    """What to say of a request that cannot be answered."""
    if isinstance(error, InputError):
        return End("error", error=one_line(error), refused=True)
    if isinstance(error, RuntimeError) and is_out_of_memory(error) or isinstance(error, MemoryError):
        return End("error", error="there is not enough memory for this request; ask with fewer or smaller pictures")
    traceback.print_exception(error)
    return End("error", error="the server failed to answer; its log says why")
