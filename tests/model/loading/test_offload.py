"""Weights that lie on disk or on another device between calls give the answers of those that do not."""

from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import TINY, answer, copied, load, lora_on_base, projector_on_base, store, with_tower
from conftest import PARITY, sample

from llava.errors import InputError
from llava.model.builder import load_pretrained_model
from llava.model.devices import device_of, is_offloaded
from llava.reduction import create

# Far less than the 1.3 million numbers of the tiny checkpoint in float32.
SMALL = {"cpu": 700_000}


def offloaded(folder: Path, tmp_path: Path, base: Path | None = None, **settings: Any) -> Any:
    """The checkpoint with most of its weights on disk."""
    arguments = {"device": "cuda", "device_map": "auto", "max_memory": SMALL} | settings
    loaded = load(folder, base, name="llava", offload_folder=str(tmp_path / "offloaded"), **arguments)
    assert is_offloaded(loaded.model) and any(weight.is_meta for weight in loaded.model.parameters())
    return loaded


@pytest.fixture(params=["beside", "inside"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    made = copied(tmp_path / "llava")
    if request.param == "inside":
        store(made, with_tower(made))
        (made / "vision_tower/model.safetensors").unlink()
    return made


def test_answers_are_the_same(folder: Path, tmp_path: Path) -> None:
    whole, part = load(folder), offloaded(folder, tmp_path)
    asked = sample(whole, "What color is the circle?", "0.png")
    methods = [
        create("none"),
        create("visionzip", dominant=54, contextual=10),
        create("pyramiddrop", layer_list=[3, 6, 9]),
        create(
            "visiondrop", dominant=42, contextual=6, layer_list=[3, 6, 9], image_token_list=[[30, 5], [22, 4], [16, 3]]
        ),
    ]
    for method in methods:
        answers = [
            loaded.model.generate(
                asked.input_ids, images=asked.images, reduction=method, do_sample=False, max_new_tokens=4
            )
            for loaded in (whole, part)
        ]
        assert torch.equal(*answers)
    shared = [
        loaded.model.ask(loaded.model.encode_image(asked.input_ids[0], asked.images), [asked.input_ids[0]])
        for loaded in (whole, part)
    ]
    assert torch.equal(*shared)


def test_the_device_is_where_ids_and_pixels_belong(folder: Path, tmp_path: Path) -> None:
    model = offloaded(folder, tmp_path).model
    cpu = torch.device("cpu")
    assert model.device == model.get_vision_tower().device == device_of(model.get_model().layers[5]) == cpu
    assert torch.equal(torch.tensor([1, 2]).to(model.device), torch.tensor([1, 2]))


@pytest.mark.parametrize("kind", ["bin", "safetensors"])
def test_weights_in_shards(tmp_path: Path, kind: str) -> None:
    folder = copied(tmp_path / "llava")
    store(folder, with_tower(folder), kind, shards=3)
    assert torch.equal(answer(offloaded(folder, tmp_path)), answer(load(folder)))


def test_tokens_that_the_checkpoint_lacks(tmp_path: Path) -> None:
    folder = copied(tmp_path / "llava", mm_use_im_start_end=True)
    part = offloaded(folder, tmp_path)
    assert part.model.config.vocab_size == 702
    assert torch.equal(answer(part), answer(load(folder)))


@pytest.mark.parametrize("place", [{"device_map": {"": "disk"}, "max_memory": None}, {"max_memory": {"cpu": 200_000}}])
def test_the_newline_token_lies_in_no_module_of_its_own(tmp_path: Path, place: dict[str, Any]) -> None:
    folder = PARITY / "llava-tiny-next"
    whole = load(folder)
    try:
        part = offloaded(folder, tmp_path, **place)
    except InputError as refused:  # the lowest transformers
        assert "a device_map must leave something in memory" in str(refused) and "device_map" in place
        return
    asked = sample(whole, "What is this?", "0.png")
    settings = dict(images=asked.images, image_sizes=asked.image_sizes, do_sample=False, max_new_tokens=3)
    assert torch.equal(*(own.model.generate(asked.input_ids, **settings) for own in (whole, part)))


def test_projector_on_a_base(tmp_path: Path) -> None:
    base, trained = projector_on_base(tmp_path)
    assert torch.equal(answer(offloaded(trained, tmp_path, base)), answer(load(trained, base, name="llava")))


def test_adapter_on_a_base(tmp_path: Path) -> None:
    base, trained = lora_on_base(tmp_path)
    got, wanted = answer(offloaded(trained, tmp_path, base)), answer(load(trained, base, name="llava"))
    assert torch.equal(got, wanted)


def test_saved_while_offloaded(tmp_path: Path) -> None:
    part = offloaded(TINY, tmp_path)
    part.model.save_pretrained(tmp_path / "again")
    part.tokenizer.save_pretrained(tmp_path / "again")
    assert torch.equal(answer(load(tmp_path / "again")), answer(load(TINY)))


def test_disk_without_a_folder_is_refused() -> None:
    for settings in ({"device_map": {"": "disk"}}, {"device_map": "auto", "max_memory": SMALL}):
        with pytest.raises(InputError, match="pass offload_folder="):
            load_pretrained_model(str(TINY), None, "llava", **settings)


def test_a_map_that_names_every_module(tmp_path: Path) -> None:
    parts = {"model.embed_tokens": "cpu", "model.layers": "disk", "model.norm": "cpu", "lm_head": "cpu"}
    parts |= {"model.vision_tower": "disk", "model.mm_projector": "cpu"}
    part = offloaded(TINY, tmp_path, device_map=parts, max_memory=None)
    assert torch.equal(answer(part), answer(load(TINY)))
    del parts["model.norm"]
    with pytest.raises(InputError, match="not give any device for the following parameters: model.norm.weight"):
        offloaded(TINY, tmp_path, device_map=parts, max_memory=None)


@pytest.mark.parametrize("device_map", ["auto", "cpu", {"": "cpu"}, torch.device("cpu"), None, "sequential"])
def test_maps_of_one_device(device_map: Any) -> None:
    _, model, _, _ = load_pretrained_model(str(TINY), None, "llava", device_map=device_map)
    assert {str(weight.device) for weight in model.parameters()} == {"cpu"}
    assert not is_offloaded(model)


@pytest.mark.parametrize("device_map", ["gpu", {"": "nowhere"}, {1: "cpu"}, {}, {"": "cuda:99"}, "cuda:99", 99, [1]])
def test_maps_that_cannot_be_followed(device_map: Any) -> None:
    with pytest.raises(InputError, match="device"):
        load_pretrained_model(str(TINY), None, "llava", device_map=device_map)
