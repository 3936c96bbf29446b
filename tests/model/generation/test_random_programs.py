"""Programs drawn by lot: batches in odd orders on one model, captured or not, beside each question asked by itself."""

import random
from typing import Any, NamedTuple

import pytest
import torch
from captures import Machine, capturing
from language_models import family_model, pictures

from llava.errors import InputError
from llava.model.generation.prefix import ImagePrefix
from llava.reduction import Reduction, resolve

PAD = 1
METHODS: list[tuple[str, dict[str, Any]]] = [
    ("none", {}),
    ("visionzip", {"dominant": 1, "contextual": 0}),
    ("visiondrop", {"retain": 20}),
    ("visiondrop", {"dominant": 9, "contextual": 4, "layer_list": [1, 3], "image_token_list": [[5, 2], [1, 0]]}),
    ("vtw", {"layer": 2}),  # no image token is left
    ("fastv", {"fast_v_attention_rank": 1}),
    ("gprune", {"keep_ratio": 0.2}),
    ("random", {"keep": 1}),
]
TILES: dict[str, Any] = {
    "image_aspect_ratio": "anyres",
    "mm_patch_merge_type": "spatial_unpad",
    "image_grid_pinpoints": [[64, 32], [32, 64]],
}


class Shown(NamedTuple):
    """Pictures and videos that prompts are about."""

    views: list[torch.Tensor]
    sizes: list[tuple[int, int]]
    modalities: list[str]

    def of(self, numbers: list[int]) -> dict[str, Any]:
        columns = {"images": self.views, "image_sizes": self.sizes, "modalities": self.modalities}
        return {name: [values[number] for number in numbers] for name, values in columns.items()}


class Row(NamedTuple):
    start: tuple[int, ...]
    numbers: list[int]
    question: list[int]


def drawn_row(draw: random.Random) -> Row:
    """Text alone, or after one or two pictures with text before and perhaps between them."""
    count = draw.choice([0, 1, 1, 1, 2])
    start = [
        1,
        *draw.choices(range(2, 39), k=draw.randrange(4)),
        -200,
        *([7] * draw.randrange(2) + [-200]) * (count - 1),
    ]
    numbers = [draw.randrange(3) for _ in range(count)]
    return Row(tuple(start) if count else (), numbers, draw.choices(range(2, 39), k=draw.randint(1, 11)))


def drawn_model(draw: random.Random, family: str) -> tuple[Any, Shown]:
    """A model in float64, so that no rounding decides, and what it is shown; half of them see tiles and a video."""
    tiled = draw.random() < 0.5
    model = family_model(family, num_hidden_layers=5, **(TILES if tiled else {})).double()
    if draw.random() < 0.5:
        model.config._attn_implementation = "shared_prefix"
    pixels = pictures(model, 3)
    if not tiled:
        return model, Shown(pixels, [(32, 32)] * 3, ["image"] * 3)
    views = [pixels[0].expand(3, -1, -1, -1), torch.cat(pixels), pixels[2].flip(2).expand(2, -1, -1, -1)]
    return model, Shown(views, [(64, 30), (32, 64), (32, 32)], ["image", "image", "video"])


def refused(model: Any, prefixes: list[ImagePrefix | None], decoder: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="ids of a prompt must be in the model's vocabulary"):
        model.ask(prefixes, [[99]] * len(prefixes), decoder=decoder, **arguments)


@pytest.mark.parametrize(("seed", "family"), [(1, "llama"), (2, "mistral-window"), (3, "qwen-window")])
def test_batches_in_any_order_give_what_each_question_alone_gets(replays: Machine, seed: int, family: str) -> None:
    draw = random.Random(seed)
    model, shown = drawn_model(draw, family)
    decoder, known, asked = capturing(model), {}, 0
    methods: list[Reduction] = [resolve({"method": name} | own, model.geometry) for name, own in METHODS]
    for _ in range(8):
        method, compiled = draw.choice(methods), decoder if draw.random() < 0.7 else None
        rows = [drawn_row(draw) for _ in range(draw.choice([1, 3, 4]))]
        if draw.random() < 0.4:  # all about one picture
            rows = [row._replace(start=rows[0].start, numbers=rows[0].numbers) for row in rows]
        ends = draw.choice([None, draw.sample(range(2, 39), 6)])
        arguments = {
            "do_sample": False,
            "pad_token_id": PAD,
            "eos_token_id": ends,
            "max_new_tokens": draw.choice([1, 5]),
        }
        keys = [(repr(method), row.start, tuple(row.numbers)) for row in rows]
        new = {key: row for key, row in zip(keys, rows) if row.start and key not in known}
        if new:
            prompts = [list(row.start) for row in new.values()]
            given = shown.of([number for row in new.values() for number in row.numbers])
            known |= dict(zip(new, model.encode_prefixes(prompts, **given, reduction=method, decoder=compiled)))
        prefixes = [known[key] if row.start else None for key, row in zip(keys, rows)]
        model.reduction = method  # of a batch of text alone
        refused(model, prefixes, compiled, arguments)
        got = model.ask(prefixes, [row.question for row in rows], decoder=compiled, **arguments)
        for own, row in zip(got.tolist(), rows):
            ids = torch.tensor([[*row.start, *row.question]])
            alone = model.generate(ids, **(shown.of(row.numbers) if row.start else {}), **arguments)[0].tolist()
            assert own == alone + [PAD] * (len(own) - len(alone)), (method, row)
            asked += 1
    assert decoder.works and replays.replayed and asked > 12
