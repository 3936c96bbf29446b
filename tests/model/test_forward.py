"""`forward` as trainers and programs call it: losses, embeddings with a mask, tuples, hooks, positions."""

from typing import Any

import pytest
import torch
from conftest import Load, Loaded, sample

from llava.errors import InputError
from llava.mm_utils import tokenizer_image_token
from llava.model.trace import Trace
from llava.reduction import create

pytestmark = pytest.mark.shallow

METHODS: dict[str, dict[str, Any]] = {
    "none": {},
    "visionzip": {"dominant": 54, "contextual": 10},
    "random": {"keep": 32},
    "visiondrop": {
        "dominant": 50,
        "contextual": 14,
        "layer_list": [2, 5, 9],
        "image_token_list": [[33, 7], [20, 5], [9, 1]],
    },
    "pyramiddrop": {"layer_list": [2, 5, 9], "image_token_ratio_list": [0.6, 0.3, 0.1]},
}
TEXTS = ["USER: hi there my friend, how are you? ASSISTANT: fine</s>", "USER: hi</s>", "USER: what is it now?"]


@pytest.fixture
def loaded(load: Load) -> Loaded:
    """The 12-layer checkpoint, without reduction."""
    return load("llava-tiny-12l")


def ids_of(loaded: Loaded, text: str) -> torch.Tensor:
    """(1, L)."""
    return tokenizer_image_token(text, loaded.tokenizer, return_tensors="pt")[None]


def padded(rows: list[torch.Tensor], side: str, fill: float = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """(1, L, ...) rows of any length as one batch, and its mask."""
    width = max(row.shape[1] for row in rows)
    batch = rows[0].new_full((len(rows), width, *rows[0].shape[2:]), fill)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for number, row in enumerate(rows):
        start = {"left": width - row.shape[1], "right": 0, "both": (width - row.shape[1]) // 2}[side]
        batch[number, start : start + row.shape[1]], mask[number, start : start + row.shape[1]] = row[0], 1
    return batch, mask


@torch.no_grad()
@pytest.mark.parametrize("side", ["left", "right", "both"])
def test_the_loss_of_a_padded_batch_is_that_of_its_rows(loaded: Loaded, side: str) -> None:
    """Every token is a label but the first, which nothing comes before, on whatever side padding is."""
    rows = [ids_of(loaded, text) for text in TEXTS]
    alone = [(loaded.model(row, labels=row).loss, row.shape[1] - 1) for row in rows]
    right = sum(loss * count for loss, count in alone) / sum(count for _, count in alone)
    ids, mask = padded(rows, side)
    labels = ids.masked_fill(mask == 0, -100)
    torch.testing.assert_close(loaded.model(ids, attention_mask=mask, labels=labels).loss, right)
    embeds, _ = padded([loaded.model.get_input_embeddings()(row) for row in rows], side, fill=7.0)
    got = loaded.model(inputs_embeds=embeds, attention_mask=mask, labels=labels).loss
    torch.testing.assert_close(got, right)


@torch.no_grad()
@pytest.mark.parametrize("name", METHODS)
def test_losses_of_parts_add_up_to_the_whole_batch(loaded: Loaded, name: str) -> None:
    """`num_items_in_batch` divides, whatever is dropped; images beside text."""
    method = create(name, **METHODS[name])
    asked = sample(loaded, "What color is the circle?", "0.png")
    rows = [asked.input_ids, *(ids_of(loaded, text) for text in TEXTS)]
    ids, mask = padded(rows, "right")
    labels = ids.masked_fill((mask == 0) | (ids < 0), -100)
    labels[:, :3] = -100
    items = (labels != -100).sum()
    whole = loaded.model(ids, attention_mask=mask, images=asked.images, labels=labels, reduction=method)
    shared = {"num_items_in_batch": items, "reduction": method}
    parts = [
        loaded.model(
            ids[row, None], attention_mask=mask[row, None], images=images, labels=labels[row, None], **shared
        ).loss
        for row, images in ((0, asked.images), (1, None), (2, None), (3, None))
    ]
    torch.testing.assert_close(sum(parts), whole.loss)
    doubled = loaded.model(
        ids, attention_mask=mask, images=asked.images, labels=labels, reduction=method, num_items_in_batch=2 * items
    )
    torch.testing.assert_close(doubled.loss, whole.loss / 2)


@torch.no_grad()
@pytest.mark.parametrize("name", METHODS)
def test_labels_follow_the_text(loaded: Loaded, name: str) -> None:
    """The loss is the mean over the answer, predicted by the last stage."""
    method, asked = create(name, **METHODS[name]), sample(loaded, "What color is the circle?", "0.png")
    answer = torch.tensor([[5, 17, 31]])
    ids = torch.cat([asked.input_ids, answer], dim=1)
    labels = ids.clone()
    labels[:, :-3] = -100
    out = loaded.model(ids, images=asked.images, labels=labels, reduction=method)
    predicted = out.logits[0, -4:-1].log_softmax(-1)
    torch.testing.assert_close(out.loss, -predicted.gather(1, answer.T).mean())
    if not method.reads_question:
        assert torch.equal(out.logits, loaded.model(ids, images=asked.images, reduction=method).logits)


def test_pyramiddrop_ranks_by_what_asks_and_not_by_the_answer(loaded: Loaded) -> None:
    """With labels its choice is that of the prompt without the answer."""
    method, asked = create("pyramiddrop", **METHODS["pyramiddrop"]), sample(loaded, "What is it?", "1.png")
    ids = torch.cat([asked.input_ids, torch.tensor([[5, 17, 31]])], dim=1)
    labels = ids.clone()
    labels[:, :-3] = -100
    traces = [Trace(), Trace()]
    with torch.no_grad():
        loaded.model(asked.input_ids, images=asked.images, reduction=method, trace=traces[0])
        loaded.model(ids, images=asked.images, labels=labels, reduction=method, trace=traces[1])
    prompt, training = ([stage.selection.kept.tolist() for stage in trace.stages] for trace in traces)
    assert prompt == training


def test_no_gradient_passes_through_a_choice(loaded: Loaded) -> None:
    method, asked, trace = create("visiondrop", **METHODS["visiondrop"]), sample(loaded, "What?", "0.png"), Trace()
    loaded.model(asked.input_ids, images=asked.images, labels=asked.input_ids, reduction=method, trace=trace)
    assert not any(stage.selection.scores.requires_grad for stage in trace.stages)
    assert all(stage.selection.merged.values.requires_grad for stage in trace.stages)


@torch.no_grad()
@pytest.mark.parametrize("side", ["left", "right", "both"])
def test_embeddings_keep_the_columns_of_their_caller(loaded: Loaded, side: str) -> None:
    rows = [ids_of(loaded, text) for text in TEXTS]
    embeds, mask = padded([loaded.model.get_input_embeddings()(row) for row in rows], side, fill=7.0)
    got = loaded.model(inputs_embeds=embeds, attention_mask=mask)
    assert got.logits.shape[:2] == embeds.shape[:2]
    for number, row in enumerate(rows):
        alone = loaded.model(row).logits[0]
        torch.testing.assert_close(got.logits[number, mask[number].bool()], alone, atol=1e-5, rtol=0)
        if side != "both":  # the last column is a row's last token, or padding after it
            torch.testing.assert_close(got.logits[number, -1], alone[-1], atol=1e-5, rtol=0)
    # Decoding goes on from them.
    step = loaded.model(torch.tensor([[4], [5], [6]]), past_key_values=got.past_key_values).logits[:, -1]
    for number, row in enumerate(rows):
        whole = torch.cat([row, torch.tensor([[4 + number]])], dim=1)
        torch.testing.assert_close(step[number], loaded.model(whole).logits[0, -1], atol=1e-5, rtol=0)


@torch.no_grad()
def test_several_new_tokens_of_rows_of_different_length(loaded: Loaded) -> None:
    """New tokens after a cache, with a mask over what is cached and what is new."""
    cached, new = torch.tensor([[4, 5, 6], [7, 8, 9]]), torch.tensor([[10, 11, 12], [13, 14, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0]])
    first = loaded.model(cached)
    got = loaded.model(new, attention_mask=mask, past_key_values=first.past_key_values).logits
    torch.testing.assert_close(got[0], loaded.model(torch.cat([cached, new], 1)[:1]).logits[0, 3:], atol=1e-5, rtol=0)
    row = torch.tensor([[7, 8, 9, 13, 14]])
    torch.testing.assert_close(got[1, :2], loaded.model(row).logits[0, 3:], atol=1e-5, rtol=0)


@torch.no_grad()
def test_positions_of_text_are_those_given(loaded: Loaded) -> None:
    ids = ids_of(loaded, TEXTS[0])
    count = ids.shape[1]
    plain = loaded.model(ids).logits
    assert torch.equal(loaded.model(ids, position_ids=torch.arange(count)[None]).logits, plain)
    moved = loaded.model(ids, position_ids=torch.arange(count)[None] * 3).logits
    assert not torch.allclose(moved, plain)
    embeds = loaded.model.get_input_embeddings()(ids)
    torch.testing.assert_close(
        loaded.model(inputs_embeds=embeds, position_ids=torch.arange(count)[None] * 3).logits, moved
    )
    # Around images they are numbered anew, as LLaVA does.
    asked = sample(loaded, "What?", "0.png")
    given = torch.arange(asked.input_ids.shape[1])[None] + 5
    want = loaded.model(asked.input_ids, images=asked.images).logits
    assert torch.equal(loaded.model(asked.input_ids, images=asked.images, position_ids=given).logits, want)


@torch.no_grad()
def test_tuples_instead_of_objects(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = sample(loaded, "What?", "0.png")
    as_object = loaded.model(asked.input_ids, images=asked.images, labels=asked.input_ids)
    as_tuple = loaded.model(asked.input_ids, images=asked.images, labels=asked.input_ids, return_dict=False)
    assert isinstance(as_tuple, tuple)
    assert torch.equal(as_tuple[0], as_object.loss) and torch.equal(as_tuple[1], as_object.logits)
    monkeypatch.setattr(loaded.model.config, "return_dict", False)
    by_config = loaded.model(asked.input_ids, images=asked.images)
    assert isinstance(by_config, tuple) and torch.equal(by_config[0], as_object.logits)
    assert loaded.model.generate(**asked._asdict(), do_sample=False, max_new_tokens=2).shape == (1, 2)


@torch.no_grad()
def test_logits_to_keep_are_the_last_ones(loaded: Loaded) -> None:
    asked = sample(loaded, "What?", "0.png")
    whole = loaded.model(asked.input_ids, images=asked.images, labels=asked.input_ids)
    last = loaded.model(asked.input_ids, images=asked.images, logits_to_keep=3)
    torch.testing.assert_close(last.logits, whole.logits[:, -3:])


@pytest.mark.parametrize("method", ["none", "visionzip"])
def test_hooks_on_the_eyes_fire(loaded: Loaded, method: str) -> None:
    asked, fired, tower = sample(loaded, "What?", "0.png"), {}, loaded.model.get_vision_tower()
    modules = {"clip": tower.vision_tower, "tower": tower, "projector": loaded.model.get_model().mm_projector}
    handles = [
        module.register_forward_hook(lambda _, __, output, name=name: fired.__setitem__(name, output))
        for name, module in modules.items()
    ]
    with torch.no_grad():
        loaded.model(asked.input_ids, images=asked.images, reduction=create(method, **METHODS[method]))
    for handle in handles:
        handle.remove()
    assert list(fired) == ["clip", "tower", "projector"]
    count = 576 if method == "none" else 64
    assert fired["tower"].shape[:2] == fired["projector"].shape[:2] == (1, count)
    assert fired["clip"].last_hidden_state.shape[:2] == (1, 577)


def test_what_embeddings_cannot_have_is_refused(loaded: Loaded) -> None:
    asked = sample(loaded, "What?", "0.png")
    embeds = loaded.model.get_input_embeddings()(ids_of(loaded, TEXTS[0]))
    drop = create("visiondrop", **METHODS["visiondrop"])
    with pytest.raises(InputError, match="images go where input_ids has -200"):
        loaded.model(inputs_embeds=embeds, images=asked.images)
    with pytest.raises(InputError, match="must be input_ids or inputs_embeds: got both"):
        loaded.model(asked.input_ids, inputs_embeds=embeds)
    with pytest.raises(InputError, match="got neither"):
        loaded.model(images=asked.images)
    with pytest.raises(InputError, match=r"drops image tokens after layers \[2, 5, 9\]"):
        loaded.model(inputs_embeds=embeds, reduction=drop)
    with pytest.raises(InputError, match=r"attention_mask must name each token: got \(1, 3\)"):
        loaded.model(inputs_embeds=embeds, attention_mask=torch.ones(1, 3))
    with pytest.raises(InputError, match=r"position_ids must number each token: got \(3,\)"):
        loaded.model(asked.input_ids, images=asked.images, position_ids=torch.arange(3))
    with pytest.raises(InputError, match="-200 stands for an image"):
        loaded.model.get_input_embeddings()(asked.input_ids)
    with pytest.raises(InputError, match="layer_list must stay below"):
        loaded.model(asked.input_ids, images=asked.images, reduction=create("pyramiddrop"))
