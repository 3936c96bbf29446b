"""lmms-eval's `llava` with a method: `--model visiondrop --model_args pretrained=...,method=visiondrop,retain=32`.

A picture that several questions are about is encoded once, and batches give the answers of one question at a time.
"""

from collections.abc import Iterator
from typing import Any

import torch
from lmms_eval.models.simple.llava import Llava
from loguru import logger
from tqdm import tqdm

from llava.conversation import get_conv_template
from llava.conversation_choice import AUTO
from llava.eval.harness.likelihood import Likelihoods
from llava.eval.harness.ratings import as_ratings
from llava.eval.harness.requests import PicturedRequests, Request, digest_of
from llava.eval.harness.words import read_words
from llava.eval.runs.answering import Answering, Item
from llava.eval.runs.conv_mode import own_mode
from llava.eval.runs.memory import free_bytes
from llava.model.generation.prefix_store import PrefixStore
from llava.model.generation.stops import stops_of
from llava.reduction.schedule import describe


class VisionDrop(Llava):
    """Takes every word of lmms-eval's `llava`, and `method`, `retain`, `preset` and every setting of every method."""

    def __init__(self, **given: Any) -> None:
        own, choice = read_words(given, Llava)
        if not torch.cuda.is_available():  # lmms-eval's own default is a GPU
            own = {"device_map": "auto", **own, "device": "cpu"}
        if own.get("conv_template") == AUTO:
            own["conv_template"] = own_mode(own["pretrained"])
        get_conv_template(own.get("conv_template", "vicuna_v1"))
        super().__init__(**own)
        self.model.reduction = choice.build(self.model.geometry)
        logger.info(f"{choice.method}: {describe(self.model.reduction, self.model.geometry)}")

    def generate_until(self, requests: list[Any]) -> list[str]:
        """Answers in the order of the requests; those about no picture or several are asked in lmms-eval's own way."""
        texts: dict[int, str] = {}
        progress = tqdm(total=len(requests), disable=self.rank != 0, desc="Model Responding")
        for numbers in _alike(requests) if self.use_cache else []:
            for answers in self._answers([requests[number] for number in numbers]):
                texts |= {numbers[at]: text for at, text in answers.items()}
                progress.update(len(answers))
        progress.close()
        left = [number for number in range(len(requests)) if number not in texts]
        if left:
            texts |= zip(left, super().generate_until([requests[number] for number in left]))
        return [texts[number] for number in range(len(requests))]

    def loglikelihood(self, requests: list[Any]) -> list[Any]:
        """The mean loss of each answer, as lmms-eval's `llava` has it, and whether it is what the model would say."""
        asked = [Request.of(instance, self.task_dict) for instance in requests]
        store = PrefixStore(free_bytes(self.model.device) // 4)
        scores = Likelihoods(self.model, self.tokenizer, self._image_processor, self.conv_template, store)
        found: list[tuple[float, bool]] = []
        with tqdm(total=len(asked), disable=self.rank != 0, desc="Model Responding") as progress:
            for first in range(0, len(asked), self.batch_size):
                found += scores.of(asked[first : first + self.batch_size])
                progress.update(len(found) - progress.n)
        return as_ratings(found)

    def _answers(self, instances: list[Any]) -> Iterator[dict[int, str]]:
        """Answers to requests with the same generation arguments, by number, batch by batch."""
        asked = [Request.of(instance, self.task_dict) for instance in instances]
        if "image_aspect_ratio" in asked[0].detail and "image_aspect_ratio" not in vars(self._config):
            self._config.image_aspect_ratio = asked[0].detail["image_aspect_ratio"]
        data = PicturedRequests(asked, self.tokenizer, self._image_processor, self._config, self.conv_template)
        generation = _generation(asked[0].detail) | {"pad_token_id": self._padding, "use_cache": True}
        stops = stops_of(get_conv_template(self.conv_template).end_mark, self.tokenizer, self.model.generation_config)
        store = PrefixStore(free_bytes(self.model.device) // 4)
        prepared: Any = data  # what Answering asks of a run's questions
        answering = Answering(self.model, prepared, data.keys, generation, stops, None, store, self.batch_size)
        for batch in _batches(data, self.batch_size):
            for texts in answering.answer([number for number, _ in batch], [item for _, item in batch]):
                for number, text in texts.items():
                    self.cache_hook.add_partial("generate_until", (asked[number].context, asked[number].detail), text)
                yield texts

    @property
    def _padding(self) -> int:
        pad = self.tokenizer.pad_token_id
        return self.tokenizer.eos_token_id if pad is None else pad


def _alike(requests: list[Any]) -> list[list[int]]:
    """Numbers of requests with the same generation arguments, in the order of the requests."""
    groups: dict[str, list[int]] = {}
    for number, instance in enumerate(requests):
        groups.setdefault(repr(instance.args[1]), []).append(number)
    return list(groups.values())


def _batches(data: PicturedRequests, size: int) -> Iterator[list[tuple[int, Item]]]:
    """Requests about one picture, `size` at a time; pixels of one that has been seen come when they are needed."""
    batch: list[tuple[int, Item]] = []
    seen: set[str] = set()
    for number, request in enumerate(data.requests):
        picture = request.picture()
        if picture is None:
            continue
        digest = digest_of(picture)
        batch.append((number, data.item(number, picture, digest not in seen)))
        seen.add(digest)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _generation(asked: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `generate` that lmms-eval's `llava` takes from a task, with its defaults; others it passes over."""
    temperature = asked.get("temperature", 0)
    lengths = {
        "max_new_tokens": asked.get("max_new_tokens", 1024),
        "num_beams": asked.get("num_beams", 1),
        "max_length": None,
    }
    if temperature > 0:
        return {"do_sample": True, "temperature": temperature, "top_p": asked.get("top_p"), **lengths}
    return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None, **lengths}
