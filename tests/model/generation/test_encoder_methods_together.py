"""FasterVLM, VisPruner and SCOPE in a model: rows of a batch, shared images and many views, each as it is alone."""

from typing import Any

import pytest
import torch
from conftest import Load, sample
from test_batches import GREEDY, Batch

from llava.model.trace import Trace

METHODS: dict[str, dict[str, Any]] = {
    "fastervlm": {"visual_token_num": 21},
    "vispruner": {"visual_token_num": 21},  # odd lists
    "scope": {"num_token": 21},
}
LOGITS = {"output_logits": True, "return_dict_in_generate": True}


@pytest.mark.parametrize("checkpoint", ["llava-tiny-12l", pytest.param("llava-tiny-next", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", METHODS)
def test_rows_and_shared_images_are_as_they_are_alone(load: Load, checkpoint: str, name: str) -> None:
    loaded = load(checkpoint, name, **METHODS[name])
    batch, arguments = Batch(loaded), {**GREEDY, **LOGITS, "max_new_tokens": 3}
    seen = Trace()
    together = loaded.model.generate(**batch.together("left"), **arguments, trace=seen)
    assert seen.encoder is not None and seen.layout is not None and not seen.stages
    views = [len(pixels) if pixels.ndim == 4 else 1 for pixels in (batch.pixels[at] for at in sum(batch.shown, []))]
    assert [span.length for span in seen.layout.spans] == [21 * count for count in views]
    first = 0
    for number in range(4):
        alone, own = loaded.model.generate(**batch.row(number), **arguments, trace=(trace := Trace())), 0
        if trace.encoder is not None:
            own = len(trace.encoder.kept)
            assert torch.equal(trace.encoder.kept, seen.encoder.kept[first : first + own])
        first += own
        rows = torch.stack([logits[number] for logits in together.logits])
        torch.testing.assert_close(rows, torch.cat(alone.logits), atol=1e-4, rtol=0)
        assert torch.equal(together.sequences[number], alone.sequences[0])
    assert first == len(seen.encoder.kept) == sum(views)

    asked = [sample(loaded, question, "0.png") for question in ("What color is it?", "Is it a dog?")]
    prefix = loaded.model.encode_image(asked[0].input_ids, asked[0].images, asked[0].image_sizes)
    assert prefix.blocks, "a method that never reads the question shares all work up to the last image token"
    shared = loaded.model.ask([prefix] * 2, [one.input_ids for one in asked], **arguments)
    for number, one in enumerate(asked):
        alone = loaded.model.generate(**one._asdict(), **arguments)
        rows = torch.stack([logits[number] for logits in shared.logits])
        torch.testing.assert_close(rows, torch.cat(alone.logits), atol=1e-4, rtol=0)
