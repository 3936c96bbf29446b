"""Devices that train together end where one does that takes their batches in turn; none waits for another for ever."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import together
from safetensors.torch import load_file
from sharded_step import LAYERS, METHODS, by_deepspeed, gradients, shared_out
from training_runs import TALKS, TINY, flags, write_data

from llava.errors import InputError
from llava.model.checkpoint.folder import Folder
from llava.model.loading.making import make_model
from llava.model.loading.state import read_state
from llava.model.sharded import ask_nothing
from llava.reduction import create
from llava.train.flags import parse
from llava.train.train import make_trainer, train

TINY_WEIGHTS = TINY / "model.safetensors"
TEXT = TALKS[1]
SEEN = [{"image": "2.png", "conversations": TALKS[at]["conversations"][:2]} for at in (0, 2, 3)]


@pytest.mark.slow
@pytest.mark.long
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """Three pictures and three texts: in the last step, one device has a picture and the other a text.

    Everything of a LLaVA-NeXT is trained, the tower and the newline token too, of which a text has nothing.
    """
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    more = (
        *("--per_device_train_batch_size", "1", "--max_grad_norm", "0", "--optim", "sgd", "--learning_rate", "1e-2"),
        *("--group_by_modality_length", "True", "--gradient_checkpointing", "True", "--image_aspect_ratio", "anyres"),
        *("--unfreeze_mm_vision_tower", "True", "--mm_patch_merge_type", "spatial_unpad"),
    )
    data = write_data(tmp_path, [SEEN[0], TEXT, SEEN[1], TEXT, TEXT, SEEN[2]])
    model = TINY.parent / "llava-tiny-next"

    def given(name: str, *own: str) -> list[str]:
        return flags(tmp_path / name, *more, *own, data=data, model=model)

    train(given("one", "--gradient_accumulation_steps", "2"))
    together(train, given("two", "--ddp_backend", "gloo"))
    one, two = (load_file(tmp_path / name / "out/model.safetensors") for name in ("one", "two"))
    before = load_file(model / "model.safetensors")
    assert one.keys() == two.keys()
    assert not torch.equal(one["model.image_newline"], before["model.image_newline"])
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=2e-6, rtol=0)


@pytest.mark.slow
@pytest.mark.long
def test_shared_out_weights_have_the_same_gradients(tmp_path: Path) -> None:
    """One process has a picture and the other a text, with each method in turn."""
    given = flags(tmp_path, data=write_data(tmp_path))
    together(shared_out, str(tmp_path), [*given, "--ddp_backend", "gloo"])
    # The mean over processes is that of their means.
    for name, own in zip(METHODS, gradients(make_trainer(parse(given)), [0, 1], share=2)):
        shared = load_file(tmp_path / f"{name}.safetensors")
        assert own.keys() == shared.keys() and len(own) > 200
        for key, gradient in own.items():
            torch.testing.assert_close(shared[key], gradient, atol=2e-5 * float(gradient.abs().max()), rtol=0)


@pytest.mark.long
@pytest.mark.parametrize(
    ("stage", "method"), [("zero2", "none"), ("zero3", "none"), ("zero3", "visiondrop"), ("zero3", "pyramiddrop")]
)
def test_deepspeed_trains_as_one_process(stage: str, method: str, tmp_path: Path) -> None:
    """Where DeepSpeed is installed, which no environment here has: see docs/training.md."""
    pytest.importorskip("deepspeed")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    more = ("--per_device_train_batch_size", "1", "--max_grad_norm", "0", "--optim", "sgd", "--learning_rate", "1e-2")
    data = write_data(tmp_path, [SEEN[0], TEXT, SEEN[1], TEXT, TEXT, SEEN[2]])
    asking = ["--gradient_checkpointing", "True"]
    asking += [] if method == "none" else ["--method", method, "--retain", "64"]
    given = [*more, *asking, "--group_by_modality_length", "True"]
    shared = ("--deepspeed", with_every_weight_shared(stage, tmp_path))
    together(by_deepspeed, flags(tmp_path / "two", *given, *shared, data=data))
    train(flags(tmp_path / "one", *given, "--gradient_accumulation_steps", "2", data=data))
    one, two = (load_file(tmp_path / name / "out/model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys() and not torch.equal(
        one["lm_head.weight"], load_file(TINY_WEIGHTS)["lm_head.weight"]
    )
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=1e-6, rtol=0)


def with_every_weight_shared(stage: str, folder: Path) -> str:
    """A file of settings that is shipped, with small weights shared out too: here all are small, norms everywhere."""
    settings = json.loads((Path(__file__).parents[2] / f"scripts/{stage}.json").read_text())
    if settings["zero_optimization"]["stage"] == 3:
        settings["zero_optimization"]["stage3_param_persistence_threshold"] = 0
    path = folder / "zero.json"
    path.write_text(json.dumps(settings))
    return str(path)


class Noticed(dict[str, torch.nn.Parameter]):
    """A module's parameters, which note when one is asked for by its name, as DeepSpeed's do."""

    asked: list[str]
    called = False

    def __getitem__(self, name: str) -> torch.nn.Parameter:
        if not self.called:
            self.asked.append(name)
        return super().__getitem__(name)


def test_no_batch_asks_for_a_weight_outside_of_its_call(tmp_path: Path) -> None:
    """ZeRO-3 would gather it before every later step, and stop where it finds that another device does not."""
    trainer = make_trainer(parse(flags(tmp_path)))
    model = trainer.llava.train()
    layers = model.get_model().layers
    asked = [layers[at] for first in LAYERS for at in (first - 1, first)]
    parts = [model.get_model().embed_tokens, *(layer.input_layernorm for layer in asked)]
    parts += [part for layer in asked for part in (layer.self_attn.q_proj, layer.self_attn.k_proj)]
    noticed = [noticing(part) for part in parts]
    for name in ("none", "visiondrop", "pyramiddrop"):
        model.reduction = create(name, **METHODS[name])
        for sample in (0, 1):  # a picture, a text
            batch = trainer.data_collator([trainer.train_dataset[sample]])
            with torch.no_grad():
                model(**batch)
                for first in model.reduction.layers:  # as a device whose batch has no picture
                    ask_nothing(model.get_model(), model.reduction, model.reduction.layers.index(first), first, 20)
            assert all(own.asked == [] for own in noticed), name


def noticing(module: torch.nn.Module) -> Noticed:
    """Have a module's parameters note when they are asked for outside of its call."""
    own = Noticed(module._parameters)
    own.asked, module._parameters = [], own
    module.register_forward_pre_hook(lambda *_: setattr(own, "called", True))
    module.register_forward_hook(lambda *_: setattr(own, "called", False))
    return own


def test_zero_3_is_given_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers loads slices of files everywhere else."""
    monkeypatch.setattr("llava.model.loading.making.is_deepspeed_zero3_enabled", lambda: True)
    given: dict[str, Any] = {}

    class Model:
        @staticmethod
        def from_pretrained(_: None, **settings: Any) -> None:
            given.update(settings["state_dict"])
            raise ImportError("far enough")

    with pytest.raises(InputError, match="far enough"):
        make_model(Model, read_state(Folder(str(TINY)), {}, None), None, "here")
    assert len(given) > 200 and all(isinstance(tensor, torch.Tensor) for tensor in given.values())


def test_every_batch_calls_the_same_modules_where_weights_are_gathered_by_call(tmp_path: Path) -> None:
    """DeepSpeed's ZeRO-3: a module that one device calls and another does not is waited for without end."""
    trainer = make_trainer(parse(flags(tmp_path, "--gradient_checkpointing", "True")))
    model = trainer.llava.train()
    for parameter in model.parameters():
        parameter.ds_id = 0  # what DeepSpeed writes on the parameters that it shares out
    called: list[str] = []

    def note(name: str) -> Any:
        return lambda *_: called.append(name)

    for name, module in model.named_modules():
        if any(True for _ in module.parameters(recurse=False)):
            module.register_forward_pre_hook(note(name))
    for name, settings in METHODS.items():
        model.reduction = create(name, **settings)
        orders = []
        for sample in (0, 1, 2):  # a picture, a text, a picture with two questions
            called.clear()
            model(**trainer.data_collator([trainer.train_dataset[sample]])).loss.backward()
            orders.append(list(called))
        assert orders[0] == orders[1] == orders[2] and len(orders[0]) > 400, name


def test_sharding_on_a_cpu_is_refused(tmp_path: Path) -> None:
    """accelerate would train by DDP there without a word."""
    with pytest.raises(InputError, match="--fsdp"):
        parse(flags(tmp_path, "--fsdp", "full_shard"))


def test_layers_that_are_packed_away_cannot_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "1")
    asks = ("--method", "visiondrop", "--retain", "64")
    with pytest.raises(InputError, match="say version 2"):
        parse(flags(tmp_path, *asks))
    monkeypatch.setenv("FSDP_VERSION", "2")
    parse(flags(tmp_path, *asks))


def test_a_question_in_the_encoder_does_not_go_with_zero_3(tmp_path: Path) -> None:
    zero3 = str(Path(__file__).parents[2] / "scripts/zero3.json")
    for words in (("--deepspeed", zero3), (f"--deepspeed={zero3}",)):
        with pytest.raises(InputError, match="train with scripts/zero2.json or --fsdp"):
            parse(flags(tmp_path, "--method", "cdpruner", "--retain", "64", *words))
        with pytest.raises(InputError, match="deepspeed"):
            parse(flags(tmp_path, *words))
