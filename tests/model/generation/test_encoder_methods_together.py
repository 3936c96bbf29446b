"""Methods that choose before the LLM, in a model: rows of a batch, shared images, many views, each as it is alone."""

import pytest
import torch
from clip_halves import with_clip_half
from conftest import Load, Loaded, sample
from test_batches import GREEDY, Batch

from llava.errors import InputError
from llava.model.trace import Trace
from llava.reduction import Reduction, available, method_class

pytestmark = pytest.mark.shallow

LOGITS = {"output_logits": True, "return_dict_in_generate": True}
BUDGETS = {"llava-tiny-12l": 21, "llava-tiny-next": 160}


def chooses_early(name: str) -> bool:
    kind = method_class(name)
    return kind.at_encoder is not Reduction.at_encoder or kind.after_projector is not None


METHODS = [name for name in available() if chooses_early(name) and name not in ("visiondrop", "visionzip")]


def loaded_with(load: Load, checkpoint: str, name: str) -> Loaded:
    loaded = load(checkpoint)
    with_clip_half(loaded.model)
    loaded.model.reduction = method_class(name).from_budget(BUDGETS[checkpoint], loaded.model.geometry)
    return loaded


@pytest.mark.parametrize("checkpoint", ["llava-tiny-12l", pytest.param("llava-tiny-next", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", METHODS)
def test_rows_of_a_batch_are_as_they_are_alone(load: Load, checkpoint: str, name: str) -> None:
    loaded = loaded_with(load, checkpoint, name)
    batch, arguments = Batch(loaded), {**GREEDY, **LOGITS, "max_new_tokens": 3}
    seen = Trace()
    together = loaded.model.generate(**batch.together("left"), **arguments, trace=seen)
    assert seen.encoder is not None and seen.layout is not None
    first, lengths = 0, []
    for number in range(4):
        alone, own = loaded.model.generate(**batch.row(number), **arguments, trace=(trace := Trace())), 0
        if trace.encoder is not None and trace.layout is not None:
            own = len(trace.encoder.kept)
            lengths += [span.initial for span in trace.layout.spans]
            for row in range(own):
                count = trace.encoder.kept_counts[row]
                assert trace.encoder.kept[row, :count].tolist() == seen.encoder.kept[first + row, :count].tolist()
        first += own
        rows = torch.stack([logits[number] for logits in together.logits])
        torch.testing.assert_close(rows, torch.cat(alone.logits), atol=1e-4, rtol=0)
        assert torch.equal(together.sequences[number], alone.sequences[0])
    assert first == len(seen.encoder.kept)
    announced = loaded.model.reduction.tokens_per_stage(loaded.model.geometry)[0]
    assert max(lengths) <= announced and (checkpoint == "llava-tiny-next" or set(lengths) == {announced})


@pytest.mark.parametrize("name", METHODS)
def test_what_questions_share_of_an_image_is_as_without_sharing(load: Load, name: str) -> None:
    loaded = loaded_with(load, "llava-tiny-12l", name)
    method, arguments = loaded.model.reduction, {**GREEDY, **LOGITS, "max_new_tokens": 3}
    asked = [sample(loaded, question, "0.png") for question in ("What color is it?", "Is it a dog?")]
    prefix = loaded.model.encode_image(asked[0].input_ids, asked[0].images, asked[0].image_sizes)
    assert bool(prefix.blocks) is not method.reads_question
    prefixes = [prefix] * 2
    if method.question_at_encoder:
        with pytest.raises(InputError, match=f"{name} reads the question before the LLM, so that an image's tok"):
            loaded.model.ask(prefixes, [one.input_ids for one in asked], **arguments)
        prefixes = [loaded.model.encode_image(*one) for one in asked]
    shared = loaded.model.ask(prefixes, [one.input_ids for one in asked], **arguments)
    for number, one in enumerate(asked):
        alone = loaded.model.generate(**one._asdict(), **arguments)
        rows = torch.stack([logits[number] for logits in shared.logits])
        torch.testing.assert_close(rows, torch.cat(alone.logits), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", [name for name in METHODS if method_class(name).question_at_encoder])
def test_a_method_that_reads_the_question_is_refused_without_one(load: Load, name: str) -> None:
    loaded = loaded_with(load, "llava-tiny-12l", name)
    asked = sample(loaded, "What is it?", "0.png")
    end = asked.input_ids[0].tolist().index(-200) + 1
    with pytest.raises(InputError, match=f"{name} reads the question before the LLM.* ends with <image>"):
        loaded.model.encode_image(asked.input_ids[0, :end], asked.images, asked.image_sizes)
    with pytest.raises(InputError, match=f"{name} reads the question before the LLM: got pictures alone"):
        loaded.model.encode_images([asked.images[0][None]], asked.image_sizes)
    with pytest.raises(InputError, match="needs one after the picture"):
        loaded.model.generate(asked.input_ids[:, :end], images=asked.images, image_sizes=asked.image_sizes)
