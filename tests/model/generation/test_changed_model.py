"""A decoder whose model is changed between two calls, or shared by others: never an answer of what was there before."""

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from captures import Machine, capturing
from language_models import FAMILIES, family_model, pictures

from llava.errors import InputError
from llava.eval.runs.answering import Answering
from llava.model import LlavaConfig, LlavaLlamaForCausalLM
from llava.model.generation import static_decoder
from llava.model.generation.prefix import ImagePrefix
from llava.model.generation.prefix_store import PrefixStore
from llava.model.generation.static_decoder import StaticDecoder
from llava.model.generation.stops import Stops
from llava.reduction import resolve

GREEDY: dict[str, Any] = {"do_sample": False, "eos_token_id": None, "max_new_tokens": 4}
QUESTIONS = [torch.tensor([3, 4, 5]), torch.tensor([6, 7])]


def small_model() -> Any:
    return family_model("llama", num_hidden_layers=4)


def encoded(model: Any, decoder: StaticDecoder | None, number: int = 0, name: str = "visiondrop") -> ImagePrefix:
    method = resolve({"method": name, "retain": 20} if name != "none" else "none", model.geometry)
    return model.encode_image(torch.tensor([1, 5, -200]), [pictures(model, 3)[number]], None, method, decoder=decoder)


def answered(model: Any, decoder: StaticDecoder | None, number: int = 0, name: str = "visiondrop") -> torch.Tensor:
    return model.ask(encoded(model, decoder, number, name), QUESTIONS, decoder=decoder, **GREEDY)


def as_without(model: Any, decoder: StaticDecoder, times: int = 3) -> bool:
    wanted = answered(model, None)
    return all(torch.equal(answered(model, decoder), wanted) for _ in range(times))


def reloaded(model: Any) -> None:
    for name, weight in list(model.named_parameters()):
        owner = model.get_submodule(name.rpartition(".")[0])
        setattr(owner, name.rpartition(".")[2], torch.nn.Parameter(weight.flip(0).detach().clone()))


CHANGES: dict[str, Callable[[Any], Any]] = {
    "another dtype": lambda model: model.double(),
    "other weights": reloaded,
    "another kernel": lambda model: model.set_attn_implementation("eager"),
    "weights in place": lambda model: model.lm_head.weight.data.mul_(-1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_model_that_is_changed_is_captured_anew(replays: Machine, change: str) -> None:
    model = small_model()
    decoder, before = capturing(model), answered(model, None)
    assert as_without(model, decoder)
    captured = replays.captured
    CHANGES[change](model)
    assert as_without(model, decoder) and decoder.works
    assert (replays.captured == captured) == (change == "weights in place")
    assert (change in ("other weights", "weights in place")) == (not torch.equal(answered(model, None), before))


def test_adapters_that_are_switched_off_or_merged_are_seen(replays: Machine) -> None:
    peft = pytest.importorskip("peft")
    model = small_model()
    wrapped = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    for label, weight in model.named_parameters():
        if "lora_" in label:
            weight.data.normal_(generator=torch.Generator().manual_seed(3))
    wrapped.eval()
    decoder, with_adapter = capturing(wrapped), answered(model, None)
    assert as_without(model, decoder)
    with wrapped.disable_adapter():
        assert as_without(model, decoder) and not torch.equal(answered(model, None), with_adapter)
    wrapped.merge_adapter()
    assert as_without(model, decoder) and decoder.works
    wrapped.unmerge_adapter()
    assert as_without(model, decoder) and replays.captured == 4 * 4


def test_a_kernel_that_cannot_be_captured_is_refused_later_too(
    replays: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    model = small_model()
    decoder = capturing(model)
    assert as_without(model, decoder)
    replayed, model.config._attn_implementation = replays.replayed, "flash_attention_2"
    with decoder.used_by(model):
        assert not decoder.works and decoder.graphs is None
    model.config._attn_implementation = "sdpa"
    assert as_without(model, decoder) and replays.replayed == replayed
    assert caplog.text.count("it needs sdpa attention and the model has flash_attention_2") == 1


def test_another_model_is_refused() -> None:
    model, other = small_model(), small_model()
    decoder = capturing(other)
    prefix = encoded(model, None)
    with pytest.raises(InputError, match="one model's weights: got another model's call; make one for each"):
        model.ask(prefix, QUESTIONS, decoder=decoder, **GREEDY)
    with pytest.raises(InputError, match="got another model's call"):
        encoded(model, decoder)


def test_eyes_that_are_elsewhere_are_not_captured() -> None:
    model = small_model()
    decoder = capturing(model)
    with decoder.used_by(model):
        assert decoder.graphs is not None
    model.get_vision_tower().to("meta")
    with decoder.used_by(model):
        assert decoder.graphs is None and decoder.works


def test_a_model_without_eyes_is_decoded_too(replays: Machine) -> None:
    model = LlavaLlamaForCausalLM(
        LlavaConfig(**FAMILIES["llama"][2] | {"num_hidden_layers": 2, "vocab_size": 40})
    ).eval()
    decoder = capturing(model)
    got = model.ask([None] * 2, QUESTIONS, decoder=decoder, **GREEDY)
    assert torch.equal(got, model.ask([None] * 2, QUESTIONS, **GREEDY)) and replays.replayed == 3


def test_numbers_that_are_none_do_not_stay_in_the_buffers(replays: Machine) -> None:
    """Weights of 0 do not hide them: they would spoil the next batch in those buffers."""
    model = small_model()
    decoder = capturing(model)
    good = encoded(model, None)
    bad = model.encode_image(torch.tensor(good.ids), [torch.full((1, 3, 32, 32), torch.nan)], None, good.reduction)
    wanted = model.ask([good, good], QUESTIONS, **GREEDY)
    for rows in ([good, good], [bad, good], [good, good], [good, bad]):
        if any(row is bad for row in rows):
            with pytest.raises(
                InputError, match=f"got NaN or infinity in row {[row is bad for row in rows].index(True)}"
            ):
                model.ask(rows, QUESTIONS, decoder=decoder, **GREEDY)
            (held,) = decoder._held.values()
            assert held.in_use and any(keys.isnan().any() for keys, _ in held.state.buffers)
        else:
            assert torch.equal(model.ask(rows, QUESTIONS, decoder=decoder, **GREEDY), wanted)


def test_shapes_and_questions_that_are_used_stay(replays: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_decoder, "SHAPES_KEPT", 2)
    monkeypatch.setattr(static_decoder, "PROMPTS_KEPT", 2)
    model = small_model()
    decoder, prefix = capturing(model), encoded(model, None)

    def ask(rows: int, length: int) -> int:
        before = replays.captured
        model.ask(prefix, [torch.arange(2, 2 + length)] * rows, decoder=decoder, **GREEDY)
        return replays.captured - before

    assert [ask(rows, 3) for rows in (1, 2, 1, 4, 1, 2)] == [2, 2, 0, 2, 0, 2]  # rows of 2 were unused longest
    assert [ask(1, length) for length in (3, 9, 3, 17, 3, 9)] == [0, 1, 0, 1, 0, 1]
    assert len(replays.streams) == 2 and len(replays.memories) == 1


def test_a_run_that_is_out_of_memory_lets_go_of_buffers_and_graphs(replays: Machine) -> None:
    model = small_model()
    decoder = capturing(model)
    assert as_without(model, decoder)
    run: dict[str, Any] = {"data": None, "keys": [None] * 4, "generation": {}, "stops": Stops(()), "seed": None}
    answering = Answering(model, **run, store=PrefixStore(9), limit=4, decoder=decoder)
    kept = weakref.ref(next(iter(decoder._held.values())))
    answering._make_room([0, 1, 2, 3])
    gc.collect()
    assert answering.limit == 2 and kept() is None and not any(memory.graphs for memory in replays.memories)
    assert as_without(model, decoder) and decoder.works


def test_calls_of_several_threads_take_turns(replays: Machine) -> None:
    model = small_model()
    decoder, found = capturing(model), {}
    wanted = [answered(model, None, number) for number in range(3)]

    def work(number: int) -> None:
        found[number] = [answered(model, decoder, number) for _ in range(3)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(got, wanted[number]) for number in range(3) for got in found[number])
