"""Requests to the engine, and what it says of them."""

import queue
from typing import Any

import torch
from conftest import PARITY

from llava.eval.runs.loading import Loaded
from llava.files.pictures import open_image
from llava.mm_utils import process_images, tokenizer_image_token
from llava.reduction import Reduction
from llava.serve.engine.request import End, Picture, Piece, Request, Sampling

QUESTIONS = ("What is this?", "What color is the circle in the middle?", "Où?", "Is it a dog or is it a cat? Say.")


class Asker:
    """Makes requests of questions and collects what is said."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded

    def request(self, number: int, method: Reduction, picture: int | None = 0, **sampling: Any) -> Request:
        said: queue.SimpleQueue = queue.SimpleQueue()
        text = f"USER: {'' if picture is None else '<image>' + chr(10)}{QUESTIONS[number % 4]} ASSISTANT:"
        ids = tuple(tokenizer_image_token(text, self.loaded.tokenizer))
        settings = Sampling(**({"max_tokens": 3 + number % 5} | sampling))
        request = Request(ids, self.pictures(picture), method, settings, said.put)
        request.said = said  # type: ignore[attr-defined]
        return request

    def pictures(self, number: int | None) -> tuple[Picture, ...]:
        if number is None:
            return ()
        image = open_image(PARITY / f"images/{number}.png")
        pixels = process_images([image], self.loaded.processor, self.loaded.model.config)[0]
        return (Picture(pixels, image.size, number),)

    @torch.inference_mode()
    def alone(self, request: Request) -> list[int]:
        """The tokens of the answer by `generate`."""
        new = self.loaded.model.generate(
            torch.tensor([request.ids]),
            images=[picture.pixels for picture in request.pictures] or None,
            image_sizes=[picture.size for picture in request.pictures] or None,
            reduction=request.reduction,
            do_sample=False,
            max_new_tokens=request.sampling.max_tokens,
        )
        return new[0].tolist()


def heard(request: Request) -> tuple[list[Piece], End]:
    """Everything that was said of a request."""
    pieces = []
    while True:
        event = request.said.get(timeout=60)  # type: ignore[attr-defined]
        if isinstance(event, End):
            return pieces, event
        pieces.append(event)
