"""What `llava.hf.reduce` gives and leaves: models side by side, in threads, the given one as it was, and refusals."""

import copy
import threading
from typing import Any

import pytest
import torch
from test_hf_generate import GREEDY, ROWS, cached, every_model, every_reduction
from tiny_hf import MODELS, inputs

import llava.hf
from llava.errors import InputError
from llava.hf.cache import PromptCache


@every_model
@every_reduction
def test_the_given_model_stays_as_it_was(name: str, method: str, settings: dict[str, Any]) -> None:
    model = MODELS[name]()
    given = inputs(model, ROWS)
    before, names = model(**given).logits, set(vars(model)) | set(vars(model.model))
    classes = {key: value for key, value in vars(type(model)).items()}
    reduced = llava.hf.reduce(model, method, **settings)
    shortened = reduced.generate(**given, **GREEDY)
    assert max(cached(shortened)) <= given["input_ids"].shape[1] + 4
    assert min(cached(shortened)) < given["input_ids"].shape[1]
    assert torch.equal(model(**given).logits, before)
    assert set(vars(model)) | set(vars(model.model)) == names
    assert {key: value for key, value in vars(type(model)).items()} == classes
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.model.language_model.modules())
    assert isinstance(reduced, type(model)) and type(reduced).__name__ == type(model).__name__
    assert all(one is other for one, other in zip(reduced.parameters(), model.parameters(), strict=True))


@every_model
def test_two_reduced_models_side_by_side_and_in_threads(name: str) -> None:
    model = MODELS[name]()
    given = inputs(model, ROWS)
    both = [llava.hf.reduce(model, "visiondrop", retain=0.3), llava.hf.reduce(model, "visionzip", retain=0.4)]
    wanted = [reduced.generate(**given, **GREEDY).logits for reduced in (*both, model)]
    got: dict[int, Any] = {}

    def run(number: int) -> None:
        chosen = (*both, model)[number % 3]
        got[number] = chosen.generate(**given, **GREEDY).logits

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(6):
        assert all(torch.equal(one, other) for one, other in zip(got[number], wanted[number % 3], strict=True))


@every_model
def test_a_reduced_model_is_reduced_from_its_original(name: str) -> None:
    model = MODELS[name]()
    given = inputs(model, ROWS)
    twice = llava.hf.reduce(llava.hf.reduce(model, "visionzip", retain=0.4), "visiondrop", retain=0.3)
    once = llava.hf.reduce(model, "visiondrop", retain=0.3)
    assert twice.reduction == once.reduction
    assert torch.equal(twice(**given).logits, once(**given).logits)


REFUSED = [
    ("llava", "cdpruner", {"retain": 0.3}, "reads the question before the LLM"),
    ("qwen2_5", "pool", {"retain": 0.3}, "these pictures have any shape"),
    ("internvl", "tome", {"retain": 0.3}, "merges patches within the tower"),
    ("qwen2_5", "hiprune", {"retention": 0.3, "object_layer": 3}, "expected one of 1, 3"),
    ("qwen2_5", "pyramiddrop", {"retain": 8}, "give a share such as 0.111"),
    ("llava", "visionzip", {"retain": 1.5}, "retain must be a share"),
    ("llava", "visionzip", {"retain": -1}, "must be"),
    ("llava", "visionzip", {"retain": True}, "retain must be a share"),
    ("llava", "visionsip", {"retain": 0.3}, "unknown reduction method"),
    ("llava", "visionzip", {"dominant": 40, "contextual": 4}, "must not exceed what the encoder has"),
    ("llava", {"method": "visionzip"}, {"retain": 0.3}, "go with a method's name"),
]


@pytest.mark.parametrize(("name", "method", "settings", "said"), REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(name: str, method: Any, settings: Any, said: str) -> None:
    model = MODELS[name]()
    with pytest.raises(InputError, match=said) as caught:
        llava.hf.reduce(model, method, **settings)
    assert "\n" not in str(caught.value)


def test_calls_that_cannot_be_reduced_are_refused() -> None:
    model = MODELS["llava"]()
    given = inputs(model, ROWS)
    reduced = llava.hf.reduce(model, "pyramiddrop", retain=0.6)
    output = reduced(**given)
    with pytest.raises(InputError, match="got a picture after a cache"):
        reduced(**given, past_key_values=output.past_key_values)
    with pytest.raises(InputError, match="padded on the left"):
        reduced.generate(**{**given, "attention_mask": given["attention_mask"].flip(1)})
    with pytest.raises(InputError, match="a row of zeros"):
        reduced(**{**given, "attention_mask": torch.zeros_like(given["attention_mask"])})
    with pytest.raises(InputError, match="takes a model of transformers"):
        llava.hf.reduce(torch.nn.Linear(1, 1), "visionzip", retain=0.4)


@pytest.mark.parametrize(
    ("setting", "value"), [("prefill_chunk_size", 8), ("cache_implementation", "static"), ("assistant_model", "x")]
)
def test_settings_that_do_not_go_with_it_are_refused_in_one_line(setting: str, value: Any) -> None:
    """As an argument, and where the checkpoint's own settings say it."""
    model = MODELS["qwen2_5"]()
    given, reduced = inputs(model, ROWS), llava.hf.reduce(model, "visionzip", retain=0.4)
    with pytest.raises(InputError, match=f"got {setting} '?{value}'?; leave it out"):
        reduced.generate(**given, **{setting: value}, max_new_tokens=2)
    if setting != "assistant_model":
        config = copy.deepcopy(model.generation_config)
        setattr(config, setting, value)
        with pytest.raises(InputError, match=f"got {setting}"):
            reduced.generate(**given, generation_config=config, max_new_tokens=2)


@every_model
def test_prompt_lookup_gives_the_same_tokens(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drafts are taken back from a cache whose layers differ in length."""
    model, cropped = MODELS[name](), []
    crop = PromptCache.crop

    def cropping(self: Any, size: int) -> None:
        before = self.get_seq_length()
        crop(self, size)
        cropped.append(before - self.get_seq_length())

    monkeypatch.setattr(PromptCache, "crop", cropping)
    given = inputs(model, [[0]])
    more = torch.tensor([[7, 8, 9, 7, 8, 9]])
    fill = {"input_ids": more, "attention_mask": torch.ones_like(more), "mm_token_type_ids": torch.zeros_like(more)}
    given |= {key: torch.cat([given[key], value.to(given[key])], dim=1) for key, value in fill.items() if key in given}
    for method in ("visiondrop", "visionzip"):
        reduced = llava.hf.reduce(model, method, retain=0.4)
        greedy = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": 95}
        drafted = reduced.generate(**given, **greedy, prompt_lookup_num_tokens=3)
        assert torch.equal(drafted, reduced.generate(**given, **greedy))
    assert max(cropped) > 0, "no draft was wrong"
