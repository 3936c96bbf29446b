"""What single methods inside the LLM do in a model, and what of them cannot be."""

import pytest
import torch
from layered import DROPPED, FASTV, GREEDY, LOGITS, PAIRS, PROMPTS, layered_model, prompt, together

from llava.errors import InputError
from llava.model.language_model.llava_llama import LlavaLlamaForCausalLM
from llava.model.trace import Trace
from llava.reduction import create


@pytest.fixture(scope="module")
def model() -> LlavaLlamaForCausalLM:
    return layered_model()


def test_vtw_leaves_no_image_token_and_v2drop_one_or_none(model: LlavaLlamaForCausalLM) -> None:
    text = len(PROMPTS[0]) - 1
    for method, counts in (
        (create("vtw", layer=3), [36, 0]),
        (create("v2drop", **DROPPED), [36, 18, 9, 1]),
        (create("v2drop", **DROPPED, least=0), [36, 18, 9, 0]),
    ):
        assert method.tokens_per_stage(model.geometry) == counts
        out = model.generate(**prompt(model, 0), reduction=method, **GREEDY, return_dict_in_generate=True)
        lengths = [out.past_key_values.length(stage) for stage in range(len(counts))]
        assert lengths == [text + count + 3 for count in counts]


def test_beams_follow_a_method_that_chooses_at_every_token(model: LlavaLlamaForCausalLM) -> None:
    beams = {**GREEDY, "num_beams": 3}
    for mode in ("mask", "inplace", "kvcache"):
        method = create("fastv", **FASTV, mode=mode)
        batch = model.generate(**together(model), reduction=method, **beams)
        for number in range(4):
            alone = model.generate(**prompt(model, number), reduction=method, **beams)
            assert torch.equal(batch[number], alone[0]), mode


def test_what_cannot_be_is_refused(model: LlavaLlamaForCausalLM) -> None:
    with pytest.raises(InputError, match="positions of fastv's mode mask must be keep"):
        create("fastv", mode="mask", positions="renumber")
    with pytest.raises(InputError, match="positions must be keep or renumber: got 'stay'"):
        create("visiondrop", **PAIRS, positions="stay")
    with pytest.raises(InputError, match="mode must be kvcache or inplace or mask: got 'drop'"):
        create("fastv", mode="drop")
    late = create("fastv", **FASTV, fast_v_sys_length=3)
    with pytest.raises(InputError, match="said to begin at token 3 must be alone in its row: got several"):
        model.generate(**prompt(model, 3), reduction=late, **GREEDY)
    masked = create("fastv", **FASTV, mode="mask")
    asked = prompt(model, 0)
    first = model.generate(**asked, reduction=masked, **GREEDY, return_dict_in_generate=True)
    ids = torch.cat([asked["input_ids"], first.sequences, torch.tensor([[6]])], dim=1)
    with pytest.raises(InputError, match="one new token at a time: got a cached conversation that goes on"):
        model.generate(ids, past_key_values=first.past_key_values, reduction=masked, **GREEDY)
    with pytest.raises(InputError, match="one new token at a time: got 2"):
        model(input_ids=ids[:, -2:], past_key_values=first.past_key_values)


def test_an_image_said_to_begin_later_gives_up_its_first_token(model: LlavaLlamaForCausalLM) -> None:
    """As the official scripts have it: the first patch stays as if it were text, and a text token may go."""
    trace = Trace()
    model.generate(**prompt(model, 0), reduction=create("fastv", **FASTV, fast_v_sys_length=3), trace=trace, **GREEDY)
    [stage] = trace.stages
    assert (stage.before.spans[0].start, stage.after.spans[0].start, stage.after.spans[0].length) == (3, 3, 9)
    assert torch.equal(stage.leaving[0, :3], stage.entering[0, :3])


def test_pictures_of_the_fixture_differ(model: LlavaLlamaForCausalLM) -> None:
    """So that the comparisons above compare something."""
    first = model.generate(**prompt(model, 0), **GREEDY, **LOGITS)
    for method in (create("fastv", **FASTV), create("vtw", layer=3), create("v2drop", **DROPPED)):
        other = model.generate(**prompt(model, 0), reduction=method, **GREEDY, **LOGITS)
        assert (first.logits[0] - other.logits[0]).abs().max() > 1e-3
