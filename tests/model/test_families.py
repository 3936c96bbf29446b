"""Every language model with every tower under every method, as `docs/checkpoints.md` says: it works or is refused."""

import itertools
from typing import Any

import pytest
import torch
from family_models import EDGE, FRAMES, LANGUAGE, SIGHT, VIDEO, model_of
from family_table import SIGHTS, method_for, parts, table

from llava.errors import InputError
from llava.model.trace import Trace
from llava.reduction import available

NEAR = {"atol": 1e-4, "rtol": 0.0}
GREEDY: dict[str, Any] = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "max_new_tokens": 2}
LOGITS: dict[str, Any] = {"output_logits": True, "return_dict_in_generate": True}
# The third asks about nothing; the last row is about a picture in its second turn.
PROMPTS = [(1, 5, -200, 6, 7, 8), (1, 9, -200, 10), (1, 11, 12), (1, 13, 14, 2, 15, -200, 16)]
SIZES = [(2 * EDGE, 2 * EDGE), (EDGE, 2 * EDGE), (2 * EDGE, EDGE)]  # of three pictures, in pixels
VIEWS = (5, 3, 3)  # whole and tiles, where there are tiles
BOUNDED = ("SigLIP, anyres_max",)  # the first picture is not the one of the most tokens
# Enough for every day: the kinds that differ most. The whole table takes a while.
EVERY_DAY = [("Mistral", "CLIP, anyres"), ("MPT", "CLIP"), ("Qwen1.5, Qwen2", VIDEO)]
CELLS = [
    pytest.param(*pair, marks=() if pair in EVERY_DAY else pytest.mark.slow)
    for pair in itertools.product(LANGUAGE, SIGHTS)
]


class Asked:
    """The prompts with their pictures, or a video for each."""

    def __init__(self, model: Any, sight: str) -> None:
        edge, draw = model.get_vision_tower().image_size, torch.Generator().manual_seed(0)
        tiles = sight in SIGHT and "image_grid_pinpoints" in SIGHT[sight][1]
        views = (FRAMES,) * 3 if sight == VIDEO else VIEWS if tiles else (1, 1, 1)
        self.pixels = [torch.randn(count, 3, edge, edge, generator=draw) for count in views]
        self.modalities = "video" if sight == VIDEO else "image"
        self.ids = [torch.tensor(prompt) for prompt in PROMPTS]

    def shown(self, *pictures: int) -> dict[str, Any]:
        """Arguments of `generate` for pictures by their numbers."""
        return {
            "images": [self.pixels[at] for at in pictures] or None,
            "image_sizes": [SIZES[at] for at in pictures] or None,
            "modalities": [self.modalities] * len(pictures) or None,
        }

    def alone(self, row: int) -> dict[str, Any]:
        """Arguments of `generate` for one prompt."""
        return {"inputs": self.ids[row][None]} | self.shown(*{0: (0,), 1: (1,), 3: (2,)}.get(row, ()))

    def together(self) -> dict[str, Any]:
        """Arguments of `generate` for all, padded on the left."""
        width = max(map(len, self.ids))
        padded = [torch.nn.functional.pad(ids, (width - len(ids), 0)) for ids in self.ids]
        mask = [torch.nn.functional.pad(torch.ones_like(ids), (width - len(ids), 0)) for ids in self.ids]
        return {"inputs": torch.stack(padded), "attention_mask": torch.stack(mask)} | self.shown(0, 1, 2)


def near(got: torch.Tensor, wanted: torch.Tensor, where: str) -> None:
    torch.testing.assert_close(got, wanted, **NEAR, msg=lambda text: f"{where}: {text}")


def logits(model: Any, **arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
    got = model.generate(**arguments, **GREEDY, **LOGITS)
    return torch.stack(got.logits, dim=1), got.sequences


@torch.no_grad()
@pytest.mark.parametrize(("language", "sight"), CELLS)
def test_batched_cached_and_shared_give_the_same(language: str, sight: str) -> None:
    model = model_of(language, sight)
    geometry, asked = model.geometry_for(FRAMES if sight == VIDEO else 0), Asked(model, sight)
    ran = 0
    for name in available():
        try:
            method = method_for(name, geometry)
        except InputError as refused:
            assert "\n" not in str(refused)
            continue
        trace = Trace()
        together, said = logits(model, **asked.together(), reduction=method, trace=trace)
        assert trace.layout is not None
        counts = [trace.layout.spans[0].length, *(stage.after.spans[0].length for stage in trace.stages)]
        most = method.tokens_per_stage(geometry)
        assert len(counts) == len(most) and (counts == most or sight in BOUNDED), (name, counts, most)
        for row in (1, 2, 3):
            alone, words = logits(model, **asked.alone(row), reduction=method)
            near(together[row], alone[0], f"{name}, prompt {row}")
            assert torch.equal(said[row], words[0]), name
        uncached, _ = logits(model, **asked.alone(0), reduction=method, use_cache=False)
        near(uncached[0], together[0], f"{name}, without a cache")
        if not method.reads_question:
            prompt = asked.alone(1)
            prefix = model.encode_image(prompt.pop("inputs")[0], **prompt, reduction=method)
            assert torch.equal(model.ask(prefix, [asked.ids[1]], **GREEDY)[0], said[1]), name
        ran += 1
    assert ran > 1, "a family that refuses all but none"


def test_the_page_says_what_the_code_does() -> None:
    assert parts()[1] == table(), "PYTHONPATH=. python tests/model/family_table.py writes it anew"
