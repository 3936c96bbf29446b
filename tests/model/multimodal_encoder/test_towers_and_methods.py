"""Every method on every kind of tower: a picture in a batch gives what it gives alone, a cache changes nothing."""

from types import SimpleNamespace

import pytest
import torch
from tower_models import EDGE, LAYERS, TOWERS, model_with, noise

from llava.errors import InputError
from llava.model.question import give_tokenizer
from llava.model.trace import Trace
from llava.reduction import available, resolve

IDS = torch.tensor([[1, 5, -200, 6, 7], [0, 1, -200, 8, 9]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [0, 1, 1, 1, 1]])
BUDGET = 24
VARYING = ("prumerge",)  # by the picture
# What a method needs of a tower. These random towers have no folder, so no text tower either.
NEEDS_TEXT_TOWER, NEEDS_CLS, CHANGES_TOKENS = ("cdpruner", "trim"), ("prumerge",), ("downsample", "tome")
PYRAMID = {"layer_list": [2, 4, 6], "image_token_ratio_list": [0.5, 0.25, 0.125]}


def settings_of(name: str) -> dict:
    """A method with a budget, where it takes one."""
    if name == "pyramiddrop":
        return {"method": name} | PYRAMID
    return {"method": name} | ({} if name == "none" else {"retain": BUDGET})


class Words:
    """A tokenizer whose words are ids."""

    def decode(self, ids: list[int], **_: object) -> str:
        return " ".join(map(str, ids))

    def __call__(self, text: str, **_: object) -> SimpleNamespace:
        return SimpleNamespace(input_ids=[int(word) for word in text.split()])


def refuses(kind: str, name: str) -> bool:
    """Whether a method cannot work with a tower."""
    without_cls, scaled = kind == "siglip" and name in NEEDS_CLS, kind == "s2" and name in CHANGES_TOKENS
    return name in NEEDS_TEXT_TOWER or without_cls or scaled


@torch.no_grad()
@pytest.mark.parametrize("kind", TOWERS)
@pytest.mark.parametrize("name", available())
def test_batched_is_single_and_cached_is_uncached(kind: str, name: str) -> None:
    model, trace = model_with(kind), Trace()
    pixels = noise(model, 2)
    give_tokenizer(model, Words())
    greedy = {"do_sample": False, "max_new_tokens": 4, "output_logits": True, "return_dict_in_generate": True}
    greedy |= {"eos_token_id": None, "pad_token_id": 0}
    if refuses(kind, name):
        asks_clip = (
            f"{name} needs a vision encoder with a .CLS. token"
            if kind == "siglip"
            else "CLIP's text tower needs the vision"
        )
        with pytest.raises(InputError, match=asks_clip if name in NEEDS_TEXT_TOWER else name) as refused:
            model.generate(IDS, images=pixels, attention_mask=MASK, reduction=settings_of(name), **greedy)
        assert "\n" not in str(refused.value)
        return
    method = resolve(settings_of(name), model.geometry)
    both = model.generate(IDS, images=pixels, attention_mask=MASK, reduction=method, trace=trace, **greedy)
    together = torch.stack(both.logits, dim=1)
    assert trace.layout is not None
    counts = [trace.layout.spans[0].length, *(stage.after.spans[0].length for stage in trace.stages)]
    if name not in VARYING:
        assert counts == method.tokens_per_stage(model.geometry)
    for row in range(2):
        ids = IDS[row, MASK[row].bool()][None]
        own = {"images": pixels[row : row + 1], "reduction": method}
        alone = model.generate(ids, **own, **greedy)
        torch.testing.assert_close(torch.stack(alone.logits, dim=1)[0], together[row], atol=1e-4, rtol=0)
        uncached = model.generate(ids, **own, use_cache=False, **greedy)
        torch.testing.assert_close(torch.stack(uncached.logits, dim=1)[0], together[row], atol=1e-4, rtol=0)
        if not method.reads_question:
            shared = model.ask(
                model.encode_image(ids, **own), [ids], do_sample=False, max_new_tokens=4, eos_token_id=None
            )
            assert torch.as_tensor(shared[0]).flatten().tolist() == alone.sequences[0].tolist()


@torch.no_grad()
@pytest.mark.parametrize("kind", ["siglip", "s2"])
@pytest.mark.parametrize("name", ["visionzip", "visiondrop", "vispruner", "none"])
def test_tiles_of_pictures_of_several_sizes(kind: str, name: str) -> None:
    edge = EDGE * (3 if kind == "s2" else 1)
    grids = {"image_aspect_ratio": "anyres", "image_grid_pinpoints": [[edge, 2 * edge], [2 * edge, 2 * edge]]}
    model = model_with(kind, **grids, mm_patch_merge_type="spatial_unpad")
    model.model.image_newline.normal_()
    model.reduction = {"method": name} | ({} if name == "none" else {"retain": 5 * BUDGET})
    pixels, sizes = [noise(model, 3, seed=1), noise(model, 5, seed=2)], [(edge, 2 * edge), (2 * edge, 2 * edge)]
    together, lengths = model.encode_images(pixels, sizes)
    ends = 0
    for own, size, length in zip(pixels, sizes, lengths):
        alone, [count] = model.encode_images([own], [size])
        assert count == length and (length < 192 if name != "none" else length > 192)
        torch.testing.assert_close(together[ends : ends + length], alone, atol=1e-5, rtol=0)
        ends += length


@pytest.mark.parametrize(("kind", "cls_token"), [("clip", 1), ("s2", 1), ("siglip", 0)])
def test_dominant_counts_cls_where_there_is_one(kind: str, cls_token: int) -> None:
    model = model_with(kind)
    assert model.geometry.has_cls is bool(cls_token) and model.geometry.layers == LAYERS
    most = 64 + cls_token - 4
    model.reduction = {"method": "visionzip", "dominant": most, "contextual": 4}
    pixels = noise(model, 1)
    with torch.no_grad():
        assert model.encode_images(pixels).shape == (1, most + 4, 16)
    with pytest.raises(InputError, match=f"expected at most {64 + cls_token} in all"):
        model.reduction = {"method": "visionzip", "dominant": most + 1, "contextual": 4}
