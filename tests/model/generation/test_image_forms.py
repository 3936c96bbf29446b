"""Pictures in tiles, pictures squared, videos and text in one batch: each row answers as it does alone."""

from typing import Any

import pytest
import torch
from conftest import PARITY, Load, Loaded

from llava.errors import InputError
from llava.mm_utils import open_image, process_prompt_images, tokenizer_image_token
from llava.model.trace import Trace
from llava.reduction import available, create, name_of, resolve

FOLDER = PARITY / "families" / "images"
GREEDY = {"do_sample": False, "eos_token_id": None, "max_new_tokens": 3}
LOGITS = {"output_logits": True, "return_dict_in_generate": True}
NEAR = {"atol": 1e-4, "rtol": 0.0}
STAGES: dict[str, Any] = {"layer_list": [1, 3], "image_token_list": [[21, 4], [9, 2]]}
METHODS: dict[str, dict[str, Any]] = {
    "none": {},
    "visionzip": {"dominant": 12, "contextual": 4},
    "visiondrop": {"dominant": 14, "contextual": 3, **STAGES},
    "pyramiddrop": {"layer_list": [1, 3], "image_token_ratio_list": [0.4, 0.1]},
}
PROMPTS: dict[str, list[list[str]]] = {
    "<image>\nWhat is it?": [["small.png"]],
    "<image>\n and <image>\nWhat differs?": [["small.png"], ["f1.png"]],
    "Say hello": [],
    "<image>\nWhat happens in the end?": [["f0.png", "f1.png", "f2.png"]],
    "Before: <image> after: <image>\n?": [["f2.png", "f3.png"], ["f0.png"]],
}


class Rows:
    """The prompts with what they show, together or one by one."""

    def __init__(self, loaded: Loaded) -> None:
        self.ids = [tokenizer_image_token(text, loaded.tokenizer, return_tensors="pt") for text in PROMPTS]
        self.shown = [self._prepared(loaded, pictures) for pictures in PROMPTS.values()]

    @staticmethod
    def _prepared(loaded: Loaded, pictures: list[list[str]]) -> list[tuple[torch.Tensor, tuple[int, int], str]]:
        opened = [[open_image(FOLDER / name) for name in names] for names in pictures]
        single = [own[0] for own in opened if len(own) == 1]
        alone = zip(*process_prompt_images(single, loaded.processor, loaded.model.config)) if single else iter(())
        shown = []
        for own in opened:
            if len(own) == 1:
                pixels, kind = next(alone)
            else:
                pixels, kind = loaded.processor.preprocess(own, return_tensors="pt")["pixel_values"], "video"
            shown.append((pixels, own[0].size, kind))
        return shown

    def of(self, *numbers: int) -> dict[str, Any]:
        """Arguments of `generate` for some rows, padded on the left."""
        width = max(len(self.ids[number]) for number in numbers)
        ids, mask = (torch.zeros(len(numbers), width, dtype=torch.long) for _ in range(2))
        for row, number in enumerate(numbers):
            ids[row, width - len(self.ids[number]) :] = self.ids[number]
            mask[row, width - len(self.ids[number]) :] = 1
        return {"input_ids": ids, "attention_mask": mask, **self.images(*numbers)}

    def images(self, *numbers: int) -> dict[str, Any]:
        """What they show."""
        shown = [entry for number in numbers for entry in self.shown[number]]
        images, sizes, modalities = (list(column) for column in zip(*shown)) if shown else (None, None, None)
        return {"images": images, "image_sizes": sizes, "modalities": modalities}


@pytest.mark.parametrize(("method", "newlines"), [*((name, "one_token") for name in METHODS), ("visiondrop", "frame")])
def test_a_row_of_any_form_answers_as_it_does_alone(
    method: str, newlines: str, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load("families/ov-qwen", method, **METHODS[method])
    monkeypatch.setattr(loaded.model.config, "mm_newline_position", newlines, raising=False)
    rows = Rows(loaded)
    together = loaded.model.generate(**rows.of(0, 1, 2, 3, 4), **GREEDY, **LOGITS)
    alone = [loaded.model.generate(**rows.of(number), **GREEDY, **LOGITS) for number in range(5)]
    for row, own in enumerate(alone):
        assert torch.equal(together.sequences[row], own.sequences[0])
        torch.testing.assert_close(torch.stack(together.logits)[:, row], torch.stack(own.logits)[:, 0], **NEAR)
    # Shared: the prefixes of all, encoded together, then asked about in another order.
    shown = [0, 1, 3, 4]
    prefixes = loaded.model.encode_prefixes([rows.ids[number] for number in shown], **rows.images(*shown))
    asked = [4, 2, 0, 3, 1]
    known = dict(zip(shown, prefixes))
    answers = loaded.model.ask(
        [known.get(number) for number in asked], [rows.ids[number] for number in asked], **GREEDY
    )
    for number, answer in zip(asked, answers):
        assert torch.equal(answer, alone[number].sequences[0])


@pytest.mark.parametrize("newlines", ["one_token", "grid"])
@pytest.mark.parametrize("checkpoint", ["ov-qwen", "video-llama"])
@pytest.mark.parametrize("method", ["visionzip", "visiondrop", "fastervlm"])
def test_frames_are_reduced_one_by_one_and_get_no_pooling_and_no_newlines(
    method: str, checkpoint: str, newlines: str, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = METHODS.get(method, {"visual_token_num": 16})
    loaded = load(f"families/{checkpoint}", method, **settings)
    monkeypatch.setattr(loaded.model.config, "mm_newline_position", newlines, raising=False)
    rows, trace = Rows(loaded), Trace()
    loaded.model.generate(**rows.of(3), **GREEDY, trace=trace)
    (pixels, _, _) = rows.shown[3][0]
    tower, parts = loaded.model.get_vision_tower(), []
    with torch.inference_mode():
        for frame in pixels:
            kept = tower.encode(frame[None], loaded.model.reduction).features
            parts.append(loaded.model.model.mm_projector(kept)[0])
    wanted = torch.cat(parts)
    assert trace.layout is not None and trace.inputs_embeds is not None
    (span,) = trace.layout.spans
    assert name_of(loaded.model.reduction) == method
    assert span.length == len(wanted) == loaded.model.reduction.tokens_per_stage(loaded.model.geometry_for(3))[0]
    torch.testing.assert_close(trace.inputs_embeds[0, span.start : span.start + span.length], wanted, **NEAR)


def test_pooled_frames_are_what_a_method_of_the_llm_drops_from(load: Load) -> None:
    loaded = load("families/video-llama", "pyramiddrop", **METHODS["pyramiddrop"])
    rows, trace = Rows(loaded), Trace()
    loaded.model.generate(**rows.of(3), **GREEDY, trace=trace)
    assert trace.layout is not None
    lengths = [trace.layout.spans[0].length, *(stage.after.spans[0].length for stage in trace.stages)]
    assert lengths == [3 * 144 + 1, int(433 * 0.4), int(433 * 0.1)]


def test_tiles_of_anyres_max_are_reduced_and_not_shrunk(load: Load) -> None:
    """VisionZip's order: the base view as it is, then the tiles; the picture of 16 tiles would be shrunk unreduced."""
    loaded, trace = load("families/ov-qwen", "visionzip", **METHODS["visionzip"]), Trace()
    picture = open_image(FOLDER / "wide.png")
    pixels, modalities = process_prompt_images([picture], loaded.processor, loaded.model.config)
    given = {"images": pixels, "image_sizes": [picture.size], "modalities": modalities}
    loaded.model.generate(Rows(loaded).ids[0][None], **given, **GREEDY, trace=trace)
    assert trace.layout is not None and trace.order is not None
    assert trace.layout.spans[0].length == len(trace.order) == 17 * 16
    assert trace.order[:16].tolist() == list(range(16)) and sorted(trace.order.tolist()) == list(range(17 * 16))


def test_a_method_is_made_for_the_longest_video_of_a_call(load: Load) -> None:
    """Its LLM stages may keep more than a picture has, or a video's budget be shared among its frames."""
    loaded, trace = load("families/video-llama"), Trace()
    rows = Rows(loaded)
    budget = {"method": "visionzip", "retain": 96}
    loaded.model.generate(**rows.of(3), **GREEDY, reduction=budget, trace=trace)
    assert trace.layout is not None and trace.layout.spans[0].length == 96  # of three frames, 32 each
    large = {"dominant": 500, "contextual": 60, "layer_list": [2], "image_token_list": [[900, 60]]}
    with pytest.raises(InputError, match="image_token_list must keep fewer tokens at each stage: got 960 after"):
        loaded.model.set_reduction({"method": "visiondrop", **large, "dominant": 90})
    trace = Trace()
    loaded.model.generate(**rows.of(3), **GREEDY, reduction={"method": "visiondrop", **large}, trace=trace)
    assert [trace.layout.spans[0].length, trace.stages[0].after.spans[0].length] == [3 * 560, 960]


def test_a_video_shorter_than_those_a_method_is_made_for_keeps_what_it_has(load: Load) -> None:
    loaded, trace = load("families/video-llama"), Trace()
    rows = Rows(loaded)
    long = create("visiondrop", dominant=30, contextual=5, layer_list=[2], image_token_list=[[90, 10]])
    long.check(loaded.model.geometry_for(3))
    alone = loaded.model.generate(**rows.of(4), **GREEDY, reduction=long, trace=trace)  # two frames and a picture
    assert trace.stages[0].after.spans[0].length == 2 * 35
    together = loaded.model.generate(**rows.of(3, 4), **GREEDY, reduction=long)
    assert torch.equal(together[1], alone[0])
    with pytest.raises(InputError, match="dominant and contextual must not exceed what the encoder has"):
        loaded.model.generate(**rows.of(3), reduction=create("visionzip", dominant=570, contextual=10))


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", ["ov-qwen", "video-llama"])
def test_every_method_that_a_model_takes_answers_in_batches_as_alone_and_from_prefixes(
    checkpoint: str, load: Load
) -> None:
    loaded = load(f"families/{checkpoint}")
    rows, numbers, tried = Rows(loaded), (2, 3, 4), []
    for name in available():
        try:  # a budget of its own schedule; some ask for more layers or files than the tiny models have
            method = resolve({"method": name, "retain": 90}, loaded.model.geometry_for(3))
            together = loaded.model.generate(**rows.of(*numbers), **GREEDY, **LOGITS, reduction=method)
        except InputError:
            continue
        tried.append(name)
        alone = [loaded.model.generate(**rows.of(number), **GREEDY, **LOGITS, reduction=method) for number in numbers]
        for row, own in enumerate(alone):
            assert torch.equal(together.sequences[row], own.sequences[0]), name
            torch.testing.assert_close(torch.stack(together.logits)[:, row], torch.stack(own.logits)[:, 0], **NEAR)
        shown = [3, 4]
        prompts = [rows.ids[number] for number in shown]
        prefixes = loaded.model.encode_prefixes(prompts, **rows.images(*shown), reduction=method)
        answers = loaded.model.ask(prefixes, prompts, **GREEDY)
        assert torch.equal(answers, together.sequences[[numbers.index(number) for number in shown]]), name
    assert {"visiondrop", "visionzip", "fastervlm", "vispruner", "scope"} <= set(tried)
