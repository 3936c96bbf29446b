"""What all tests share: the official outputs, the tiny checkpoints they were made on, and their pictures."""

import gc
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file
from shallow import DECODER_LAYERS, remove, shallow

import llava.reduction
from llava.conversation import get_conv_template
from llava.mm_utils import open_image, process_images, tokenizer_image_token
from llava.model.builder import load_pretrained_model

# No test reaches a hub: neither this process, which has imported the hub's client already, nor those it starts.
huggingface_hub.constants.HF_HUB_OFFLINE = True
os.environ["HF_HUB_OFFLINE"] = "1"
# Where the tests run in the background Ctrl-C is ignored, which the processes that they start would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# transformers compiles a pattern for every tensor that it loads, more than Python remembers: a fifth of each loading.
re._MAXCACHE = 4096  # type: ignore[attr-defined]
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)

pytest_plugins = ["captures", "serve_fixtures", "shapes_fixtures"]


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: a collector need not walk through it again and again."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    remove()


PARITY = Path(__file__).parent / "parity"
CASES = json.loads((PARITY / "cases.json").read_text())
METHOD_OF_CASE = {"pdrop": "pyramiddrop", "llava": "none"}


class Loaded(NamedTuple):
    """What `load_pretrained_model` returns."""

    tokenizer: object
    model: torch.nn.Module
    processor: object
    context_len: int


class Sample(NamedTuple):
    """A question as `generate` takes it: ids (1, L), pictures as lists, and their (width, height)."""

    input_ids: torch.Tensor
    images: list[torch.Tensor]
    image_sizes: list[tuple[int, int]]


Load = Callable[..., Loaded]


@pytest.fixture(scope="session")
def _checkpoints() -> dict[Path, Loaded]:
    return {}


@pytest.fixture
def load(_checkpoints: dict[Path, Loaded], request: pytest.FixtureRequest) -> Load:
    """`load("llava-tiny")` gives that checkpoint in float32 on the CPU, read once a session, without reduction.

    In a test marked `shallow` it has fewer layers.
    """

    def load_checkpoint(name: str, method: str = "none", **settings: object) -> Loaded:
        is_cut = name in DECODER_LAYERS and request.node.get_closest_marker("shallow") is not None
        folder = shallow(name) if is_cut else PARITY / name
        if folder not in _checkpoints:
            arguments = {"device": "cpu", "torch_dtype": torch.float32}
            # Whichever test comes first: weights made in inference mode would count no versions for the later ones.
            with torch.inference_mode(False):
                loaded = load_pretrained_model(str(folder), None, "llava-tiny", **arguments)
            _checkpoints[folder] = Loaded(*loaded)
        _checkpoints[folder].model.reduction = llava.reduction.create(method, **settings)
        return _checkpoints[folder]

    return load_checkpoint


def reduction_of(case: dict) -> llava.reduction.Reduction:
    """The method of a parity case with its settings."""
    method = METHOD_OF_CASE.get(case["method"], case["method"])
    return llava.reduction.create(method, **case.get("params", {}))


def reference(case: dict) -> dict[str, torch.Tensor]:
    """What the official implementation computed for a case."""
    return load_file(PARITY / f"{case['name']}.safetensors")


def sample(loaded: Loaded, question: str, *names: str) -> Sample:
    """A question under `vicuna_v1` about pictures of the pack, `0.png` and so on, each on a line before it."""
    conversation = get_conv_template("vicuna_v1")
    conversation.append_message(conversation.roles[0], "<image>\n" * len(names) + question)
    conversation.append_message(conversation.roles[1], None)
    ids = tokenizer_image_token(conversation.get_prompt(), loaded.tokenizer, return_tensors="pt")
    images = [open_image(str(PARITY / "images" / name)) for name in names]
    pixels = [process_images([image], loaded.processor, loaded.model.config)[0] for image in images]
    return Sample(ids[None], pixels, [image.size for image in images])
