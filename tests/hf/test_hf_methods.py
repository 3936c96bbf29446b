"""Every method on every class of transformers: a row of a batch is answered as alone, with fewer tokens."""

from typing import Any

import pytest
import torch
from test_hf_generate import GREEDY, alone, cached
from tiny_hf import MODELS, inputs

import llava.hf
from llava.errors import InputError
from llava.hf.families import family_of


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    return {name: make() for name, make in MODELS.items()}


@pytest.mark.parametrize("name", MODELS)
def test_every_method(name: str, models: dict[str, Any]) -> None:
    model, tried = models[name], []
    given = inputs(model, [[0], [1]])
    for method in family_of(model).methods():
        if method == "none":
            continue
        try:
            reduced = llava.hf.reduce(model, method, retain=0.5)
        except InputError:  # vscan wants windows of 4 x 4, which 6 x 6 patches do not make
            assert method in ("vscan", "prumerge"), method
            continue
        both = reduced.generate(**given, **GREEDY)
        assert min(cached(both)) < given["input_ids"].shape[1], method
        for row in range(2):
            own = reduced.generate(**alone(given, row), **GREEDY)
            for one, other in zip(own.logits, both.logits, strict=True):
                torch.testing.assert_close(one[0], other[row], atol=2e-5, rtol=0, msg=method)
        tried.append(method)
    assert len(tried) >= 13


@pytest.mark.parametrize("name", llava.hf.PRESETS)
def test_presets(name: str, models: dict[str, Any]) -> None:
    model = models["qwen2_5"]
    given = inputs(model, [[0], [3]])
    reduced = llava.hf.reduce(model, **llava.hf.PRESETS[name])
    assert torch.isfinite(reduced(**given).logits).all()


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        *((name, preset) for name in ("qwen2_5", "internvl") for preset in ("visionzip 70%", "visiondrop 33.3%")),
        ("qwen2_5", "hiprune 22.2%"),  # whose layers are Qwen's own; InternVL's here has fewer than its code looks at
    ],
)
def test_a_preset_by_its_name_is_its_settings(name: str, preset: str, models: dict[str, Any]) -> None:
    model, method = models[name], preset.split()[0]
    given = inputs(model, [[0]])
    wanted = llava.hf.reduce(model, **llava.hf.PRESETS[preset])(**given).logits
    for reduced in (
        llava.hf.reduce(model, method, preset=preset),
        llava.hf.reduce(model, {"method": method, "preset": preset}),
    ):
        assert torch.equal(reduced(**given).logits, wanted)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"preset": "paper-64"}, "a preset is one of visionzip 70%, .*vscan 5% for Qwen2_5_VL.*: got 'paper-64'"),
        ({"preset": ["visionzip 70%"]}, "a preset is one of"),
        ({"preset": None}, "a preset is one of"),
        ({"preset": "vscan 5%"}, "got vscan 5% with method 'visionzip', expected vscan"),
        ({"preset": "visionzip 70%", "dominant": 5}, "preset makes the whole schedule.*'dominant'"),
        ({"preset": "visionzip 70%", "retain": 0.5}, "preset makes the whole schedule.*'retain'"),
    ],
)
def test_a_preset_that_does_not_fit_is_refused(
    settings: dict[str, Any], complaint: str, models: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match=complaint):
        llava.hf.reduce(models["qwen2_5"], "visionzip", **settings)
    with pytest.raises(InputError, match=complaint):
        llava.hf.reduce(models["qwen2_5"], {"method": "visionzip", **settings})


def test_a_llava_of_transformers_has_llavas_presets(models: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="a preset is one of paper-192, .*paper-32 for a LLaVA: got 'visionzip 70%'"):
        llava.hf.reduce(models["llava"], "visionzip", preset="visionzip 70%")


def test_visionzips_published_shares_are_rounded_down(models: dict[str, Any]) -> None:
    """65 % and 5 % of 24 tokens: 15 dominant ones and 1 contextual."""
    model = models["qwen2_5"]
    given = inputs(model, [[0]])
    shares = llava.hf.reduce(model, **llava.hf.PRESETS["visionzip 70%"])
    counts = llava.hf.reduce(model, "visionzip", dominant=15, contextual=1)
    assert torch.equal(shares(**given).logits, counts(**given).logits)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_is_one(share: float, models: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="dominant"):
        llava.hf.reduce(models["qwen2_5"], "visionzip", dominant=share, contextual=0.05)


@pytest.mark.parametrize("name", ["qwen2", "qwen2_5", "qwen3"])
def test_a_count_is_of_every_picture_or_all_that_it_has(name: str, models: dict[str, Any]) -> None:
    """24 and 15 tokens."""
    model = models[name]
    for retain, counts in ((8, (8, 8)), (20, (20, 15))):
        reduced = llava.hf.reduce(model, "fastervlm", retain=retain)
        for picture, count, whole in zip((0, 3), counts, (24, 15)):
            given = inputs(model, [[picture]])
            assert reduced(**given).logits.shape[1] == given["input_ids"].shape[1] - whole + count
    for retain in (4, 20):
        assert torch.isfinite(
            llava.hf.reduce(model, "visiondrop", retain=retain)(**inputs(model, [[0], [3]])).logits
        ).all()


def test_small_pictures_keep_a_token_of_each_kind(models: dict[str, Any]) -> None:
    """A twentieth of 15 tokens makes no schedule of VisionDrop; its first stage leaves one token of each kind."""
    model = models["qwen3"]
    given = inputs(model, [[3]])
    logits = llava.hf.reduce(model, "visiondrop", retain=0.05)(**given).logits
    assert logits.shape[1] == given["input_ids"].shape[1] - 15 + 1


def test_a_count_is_shared_out_among_the_tiles_of_a_picture(models: dict[str, Any]) -> None:
    """Of three, one and two tiles of 16 tokens."""
    model = models["internvl"]
    for retain, counts in ((12, (12, 12, 12)), (20, (21, 16, 20)), (2, (3, 2, 2))):
        reduced = llava.hf.reduce(model, "fastervlm", retain=retain)
        for picture, count, whole in zip((0, 1, 3), counts, (48, 16, 32)):
            given = inputs(model, [[picture]])
            assert reduced(**given).logits.shape[1] == given["input_ids"].shape[1] - whole + count, (retain, picture)


def test_a_grid_is_of_every_tile(models: dict[str, Any]) -> None:
    model = models["internvl"]
    given = inputs(model, [[0]])
    reduced = llava.hf.reduce(model, "pool", rows=2, cols=3)
    assert reduced(**given).logits.shape[1] == given["input_ids"].shape[1] - 48 + 3 * 6
    with pytest.raises(InputError, match="expected at most 4"):
        llava.hf.reduce(model, "pool", rows=5, cols=5)
