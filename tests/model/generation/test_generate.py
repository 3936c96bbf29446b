"""`generate`: what transformers' generation offers, with images."""

import pytest
import torch
from conftest import Load, Loaded, sample
from transformers import DynamicCache, GenerationConfig, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from llava.errors import InputError
from llava.mm_utils import KeywordsStoppingCriteria
from llava.model.trace import Trace
from llava.reduction import create

pytestmark = pytest.mark.shallow

DROP = {"dominant": 50, "contextual": 14, "layer_list": [2, 5, 9], "image_token_list": [[33, 7], [20, 5], [9, 1]]}
GREEDY = {"do_sample": False, "eos_token_id": None}
QUESTION = "What color is the circle?"


@pytest.fixture
def drop(load: Load) -> Loaded:
    """The 12-layer checkpoint under VisionDrop."""
    return load("llava-tiny-12l", "visiondrop", **DROP)


def test_only_new_tokens_are_returned(drop: Loaded) -> None:
    asked = sample(drop, QUESTION, "0.png")
    got = drop.model.generate(**asked._asdict(), **GREEDY, max_new_tokens=5)
    assert got.shape == (1, 5) and got.dtype == torch.int64
    text_only = sample(drop, QUESTION)
    assert drop.model.generate(text_only.input_ids, **GREEDY, max_new_tokens=3).shape == (1, 3)


def test_output_object_has_scores_logits_and_cache(drop: Loaded) -> None:
    asked = sample(drop, QUESTION, "0.png")
    wanted = {"return_dict_in_generate": True, "output_logits": True, "output_scores": True}
    got = drop.model.generate(**asked._asdict(), **GREEDY, max_new_tokens=3, **wanted)
    assert len(got.logits) == len(got.scores) == 3
    assert torch.equal(torch.cat(got.logits).argmax(-1), got.sequences[0])
    assert got.past_key_values.length(3) == asked.input_ids.shape[1] - 1 + 10 + 2


def test_sampling_follows_the_seed(drop: Loaded) -> None:
    asked = sample(drop, QUESTION, "0.png")

    def draw(seed: int) -> list[int]:
        torch.manual_seed(seed)
        arguments = {"do_sample": True, "temperature": 1.5, "top_p": 0.95, "eos_token_id": None}
        return drop.model.generate(**asked._asdict(), max_new_tokens=12, **arguments)[0].tolist()

    assert draw(1) == draw(1) != draw(2)


def test_several_sequences_of_one_prompt(drop: Loaded) -> None:
    asked = sample(drop, QUESTION, "0.png")
    greedy = drop.model.generate(**asked._asdict(), **GREEDY, max_new_tokens=4)
    arguments = {**GREEDY, "num_beams": 3, "num_return_sequences": 3, "max_new_tokens": 4}
    beams = drop.model.generate(**asked._asdict(), **arguments)
    assert beams.shape == (3, 4) and len({tuple(row) for row in beams.tolist()}) == 3
    one = drop.model.generate(**asked._asdict(), **GREEDY, num_beams=1, max_new_tokens=4)
    assert torch.equal(one, greedy)


class Collector(BaseStreamer):
    """A streamer that keeps what it is given."""

    def __init__(self) -> None:
        self.pieces: list[int] = []
        self.ended = False

    def put(self, value: torch.Tensor) -> None:
        self.pieces += value.flatten().tolist()

    def end(self) -> None:
        self.ended = True


def test_streamer_sees_new_tokens_only(drop: Loaded) -> None:
    asked, streamer = sample(drop, QUESTION, "0.png"), Collector()
    got = drop.model.generate(**asked._asdict(), **GREEDY, max_new_tokens=4, streamer=streamer)
    assert streamer.pieces == got[0].tolist() and streamer.ended


def test_generation_ends_at_the_end_token_and_at_keywords(drop: Loaded) -> None:
    asked = sample(drop, QUESTION, "0.png")
    free = drop.model.generate(**asked._asdict(), **GREEDY, max_new_tokens=8)[0].tolist()
    ended = drop.model.generate(**asked._asdict(), do_sample=False, max_new_tokens=8, eos_token_id=free[2])
    assert ended[0].tolist() == free[: free.index(free[2]) + 1]
    word = drop.tokenizer.decode(free[3])
    criterion = KeywordsStoppingCriteria([word], drop.tokenizer, asked.input_ids[:, :0])
    stopped = drop.model.generate(
        **asked._asdict(), **GREEDY, max_new_tokens=8, stopping_criteria=StoppingCriteriaList([criterion])
    )
    assert stopped.shape[1] <= 4 and word in drop.tokenizer.decode(stopped[0])


def test_a_generation_config_is_obeyed(drop: Loaded) -> None:
    asked = sample(drop, QUESTION, "0.png")
    config = GenerationConfig(max_new_tokens=2, do_sample=False, eos_token_id=None)
    assert drop.model.generate(**asked._asdict(), generation_config=config).shape == (1, 2)


@pytest.mark.parametrize("name", ["none", "visionzip", "visiondrop"])
def test_a_second_turn_continues_from_the_cache(load: Load, name: str) -> None:
    """For methods that read no question: as if the whole conversation had been one prompt."""
    settings = {"none": {}, "visionzip": {"dominant": 54, "contextual": 10}, "visiondrop": DROP}[name]
    loaded = load("llava-tiny-12l", name, **settings)
    asked = sample(loaded, QUESTION, "0.png")
    arguments = {**GREEDY, "max_new_tokens": 4, "return_dict_in_generate": True, "output_logits": True}
    first = loaded.model.generate(**asked._asdict(), **arguments)
    more = loaded.tokenizer(" USER: And the dog? ASSISTANT:", add_special_tokens=False, return_tensors="pt").input_ids
    conversation = torch.cat([asked.input_ids, first.sequences, more], dim=1)
    whole = loaded.model.generate(conversation, images=asked.images, **arguments)
    cached = loaded.model.generate(
        conversation, images=asked.images, past_key_values=first.past_key_values, **arguments
    )
    assert torch.equal(cached.sequences, whole.sequences)
    torch.testing.assert_close(torch.cat(cached.logits), torch.cat(whole.logits), atol=1e-4, rtol=0)
    assert cached.past_key_values is first.past_key_values


def test_a_second_turn_of_a_batch_ignores_the_filling_of_rows_that_ended(load: Load) -> None:
    loaded = load("llava-tiny-12l", "visiondrop", **DROP)
    asked, other = sample(loaded, QUESTION, "0.png"), sample(loaded, "Is there a dog?", "1.png")
    width = max(asked.input_ids.shape[1], other.input_ids.shape[1])
    rows = [torch.nn.functional.pad(s.input_ids[0], (width - s.input_ids.shape[1], 0)) for s in (asked, other)]
    mask = torch.stack([(torch.arange(width) >= width - s.input_ids.shape[1]).long() for s in (asked, other)])
    images = [*asked.images, *other.images]
    free = loaded.model.generate(torch.stack(rows), attention_mask=mask, images=images, **GREEDY, max_new_tokens=6)
    end = int(free[0, 1])
    assert end not in free[1, :2].tolist()
    ending = {"do_sample": False, "eos_token_id": end, "pad_token_id": 0, "max_new_tokens": 5}
    first = loaded.model.generate(
        torch.stack(rows), attention_mask=mask, images=images, return_dict_in_generate=True, **ending
    )
    more = torch.tensor([[5, 9, 11]])
    real = torch.ones_like(first.sequences)
    for row in range(2):
        said = first.sequences[row].tolist()
        real[row, said.index(end) + 1 if end in said else len(said) :] = 0
    ids = torch.cat([torch.stack(rows), first.sequences, more.expand(2, -1)], dim=1)
    full_mask = torch.cat([mask, real, torch.ones(2, 3, dtype=torch.long)], dim=1)
    arguments = {**GREEDY, "max_new_tokens": 3, "return_dict_in_generate": True, "output_logits": True}
    cached = loaded.model.generate(
        ids, attention_mask=full_mask, images=images, past_key_values=first.past_key_values, **arguments
    )
    for row, said in enumerate((asked, other)):
        kept = first.sequences[row][real[row].bool()]
        alone_ids = torch.cat([said.input_ids[0], kept, more[0]])[None]
        alone = loaded.model.generate(alone_ids, images=said.images, **arguments)
        got = torch.stack([logits[row] for logits in cached.logits])
        torch.testing.assert_close(got, torch.cat(alone.logits), atol=1e-4, rtol=0)


def test_a_new_picture_in_a_cached_conversation(load: Load) -> None:
    arguments = {**GREEDY, "max_new_tokens": 3, "return_dict_in_generate": True}
    for name, settings in (("none", {}), ("visiondrop", DROP)):
        loaded = load("llava-tiny-12l", name, **settings)
        asked, other = sample(loaded, QUESTION, "0.png"), sample(loaded, QUESTION, "1.png")
        first = loaded.model.generate(**asked._asdict(), **arguments)
        ids = torch.cat([asked.input_ids, first.sequences, other.input_ids[:, 1:]], dim=1)
        images = asked.images + other.images
        if name == "none":
            whole = loaded.model.generate(ids, images=images, **arguments)
            cached = loaded.model.generate(ids, images=images, past_key_values=first.past_key_values, **arguments)
            assert torch.equal(cached.sequences, whole.sequences)
        else:
            with pytest.raises(InputError, match="takes no new image with a method that drops inside the LLM: got 1"):
                loaded.model.generate(ids, images=images, past_key_values=first.past_key_values, **arguments)


def test_caches_of_another_kind_are_refused(drop: Loaded) -> None:
    asked = sample(drop, QUESTION, "0.png")
    with pytest.raises(InputError, match="got a DynamicCache, expected a StagedCache"):
        drop.model.generate(**asked._asdict(), past_key_values=DynamicCache(), max_new_tokens=1)


def test_a_method_of_one_call_must_fit(drop: Loaded) -> None:
    asked = sample(drop, QUESTION, "0.png")
    with pytest.raises(InputError, match="layer_list must stay below"):
        drop.model.generate(**asked._asdict(), reduction=create("pyramiddrop"), max_new_tokens=1)


def test_trace_tells_what_was_kept(drop: Loaded) -> None:
    asked, trace = sample(drop, QUESTION, "0.png"), Trace()
    drop.model.generate(**asked._asdict(), **GREEDY, max_new_tokens=2, trace=trace)
    assert trace.encoder is not None and trace.encoder.counts == (64,)
    assert [(stage.layer, stage.selection.counts) for stage in trace.stages] == [(2, (40,)), (5, (25,)), (9, (10,))]
    start = trace.layout.spans[0].start
    for stage in trace.stages:
        kept = stage.entering[0, start : start + stage.before.spans[0].length][stage.selection.kept[0]]
        assert torch.equal(stage.leaving[0, start : start + len(kept)], kept)
        text = stage.entering.shape[1] - stage.before.spans[0].length
        assert stage.leaving.shape[1] - stage.after.spans[0].length == text


def test_loss_is_of_the_text_alone(load: Load) -> None:
    loaded = load("llava-tiny-12l", "visionzip", dominant=54, contextual=10)
    asked = sample(loaded, QUESTION, "0.png")
    labels = asked.input_ids.clone()
    labels[:, :-4] = -100
    with torch.no_grad():
        out = loaded.model(asked.input_ids, images=asked.images, labels=labels)
    predicted = out.logits[0, -5:-1].log_softmax(-1)
    wanted = -predicted.gather(1, asked.input_ids[0, -4:, None]).mean()
    torch.testing.assert_close(out.loss, wanted)


def test_prompts_are_cut_where_the_configuration_says(load: Load) -> None:
    loaded = load("llava-tiny-12l", "visionzip", dominant=54, contextual=10)
    asked = sample(loaded, QUESTION, "0.png")
    whole, cut = Trace(), Trace()
    with torch.no_grad():
        loaded.model(asked.input_ids, images=asked.images, trace=whole)
        loaded.model.config.tokenizer_model_max_length = 50
        try:
            loaded.model(asked.input_ids, images=asked.images, trace=cut)
        finally:
            del loaded.model.config.tokenizer_model_max_length
    assert torch.equal(cut.inputs_embeds, whole.inputs_embeds[:, :50])
