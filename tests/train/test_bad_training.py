"""Flags that make no sense: one line that names them, before anything is loaded."""

import dataclasses
import json
import runpy
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from training_runs import TALKS, TINY, flags, write_data

from llava.errors import InputError
from llava.reduction import available, method_class
from llava.reduction.schedule import flag_of
from llava.train.arguments import DataArguments, ModelArguments, TrainingArguments
from llava.train.flags import modern, parse
from llava.train.train import data_arguments, train

SHAPES = Path(__file__).parents[2] / "playground/shapes/llava-shapes"
WHOLE = str(TINY / "model.safetensors")


BAD_FLAGS: dict[str, tuple[str, ...]] = {
    "unknown": ("--no_such_flag", "1"),
    "part of a name": ("--image_fold", "x"),
    "switch": ("--bf16", "perhaps"),
    "number": ("--learning_rate", "fast"),
    "negative rate": ("--learning_rate", "-1"),
    "not a rate": ("--mm_projector_lr", "nan"),
    "bits": ("--bits", "3"),
    "bits without an adapter": ("--bits", "4"),
    "quantisation": ("--lora_enable", "True", "--quant_type", "int4"),
    "biases": ("--lora_enable", "True", "--lora_bias", "some"),
    "rank": ("--lora_enable", "True", "--lora_r", "0"),
    "dropout": ("--lora_enable", "True", "--lora_dropout", "1"),
    "nothing trained": ("--tune_mm_mlp_adapter", "True", "--freeze_mm_mlp_adapter", "True"),
    "two ways": ("--tune_mm_mlp_adapter", "True", "--lora_enable", "True"),
    "a tower beside the projector": ("--tune_mm_mlp_adapter", "True", "--unfreeze_mm_vision_tower", "True"),
    "tower's rate": ("--mm_vision_tower_lr", "1e-6"),
    "length": ("--model_max_length", "0"),
    "strategy": ("--evaluation_strategy", "sometimes"),
    "warm-up": ("--warmup_ratio", "3"),
    "batch": ("--per_device_train_batch_size", "two"),
    "attention": ("--attn_implementation", "xformers"),
    "method": ("--method", "no_such_method"),
    "setting of another method": ("--method", "pyramiddrop", "--dominant", "3"),
    "budget": ("--method", "visiondrop", "--retain", "0"),
    "a program": ("--method", "pyramiddrop", "--layer_list", "__import__('os').getcwd()"),
    "scheduler": ("--lr_scheduler_type", "wavy"),
    "tokens of an image": ("--tune_mm_mlp_adapter", "True", "--mm_use_im_start_end", "True"),
    "no batch": ("--per_device_train_batch_size", "0"),
    "no accumulation": ("--gradient_accumulation_steps", "0"),
    "epochs": ("--num_train_epochs", "0"),
    "epochs without number": ("--num_train_epochs", "nan"),
    "steps": ("--max_steps", "-5"),
    "decay": ("--weight_decay", "nan"),
    "momentum": ("--adam_beta1", "1"),
    "clipping": ("--max_grad_norm", "-1"),
    "endless clipping": ("--max_grad_norm", "inf"),
    "saving": ("--save_strategy", "steps", "--save_steps", "0"),
    "saving never": ("--save_strategy", "often"),
    "nothing kept": ("--save_total_limit", "0"),
    "logging": ("--logging_steps", "0"),
    "seed": ("--seed", "-1"),
    "large seed": ("--seed", str(2**70)),
    "workers": ("--dataloader_num_workers", "-1"),
    "warm-up without number": ("--warmup_steps", "nan"),
    "two dtypes": ("--bf16", "True", "--fp16", "True"),
    "optimiser": ("--optim", "best"),
    "tracker": ("--report_to", "paper"),
    "evaluation": ("--eval_strategy", "steps"),
    "best model": ("--load_best_model_at_end", "True"),
    "smoothing": ("--label_smoothing_factor", "0.1"),
    "columns": ("--remove_unused_columns", "True"),
    "flash attention": ("--attn_implementation", "flash_attention_2"),
    "no folder": ("--output_dir", ""),
    "no value": ("--learning_rate",),
    "a stray word": ("hello",),
    "broken settings": ("--lr_scheduler_kwargs", "{"),
}


@pytest.mark.parametrize("name", BAD_FLAGS)
def test_flags_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises((InputError, SystemExit)) as refused:
        parse(flags(tmp_path, *BAD_FLAGS[name]))
    assert not isinstance(refused.value, SystemExit) or refused.value.code == 2
    assert "\n" not in str(refused.value)


class Reached(Exception):
    """Weights would be read now."""


# What other files know of: refused after those were looked at, and before weights are read.
BAD_SETTINGS: dict[str, tuple[tuple[str, ...], str]] = {
    "template": (("--version", "no_such_template"), "--version must name a conversation template"),
    "tower": (("--vision_tower", "no/such/tower"), "no/such/tower"),
    "form": (("--image_aspect_ratio", "wide"), "image_aspect_ratio"),
    "grids": (("--image_aspect_ratio", "anyres", "--image_grid_pinpoints", "wide"), "image_grid_pinpoints"),
    "layer": (("--mm_vision_select_layer", "99"), "mm_vision_select_layer"),
    "features": (("--mm_vision_select_feature", "all"), "mm_vision_select_feature"),
    "projector": (("--mm_projector_type", "mlp"), "mm_projector_type"),
    "merge": (("--mm_patch_merge_type", "spiral"), "mm_patch_merge_type"),
    "no projector": (("--pretrain_mm_mlp_adapter", "no/such/file.bin"), "no/such/file.bin"),
    "another projector": (("--mm_projector_type", "linear", "--pretrain_mm_mlp_adapter", WHOLE), "that of the LLaVA"),
    "a text for a projector": (("--pretrain_mm_mlp_adapter", str(TINY / "config.json")), "config.json"),
    "model": (("--model_name_or_path", "no/such/model"), "no/such/model"),
    "empty model": (("--model_name_or_path", str(TINY.parent / "images")), "images"),
    "images": (("--image_folder", "no/such/folder"), "no/such/folder"),
    "layers": (("--method", "pyramiddrop", "--layer_list", "[99]", "--image_token_ratio_list", "[0.5]"), "layer"),
    "budget": (("--method", "visiondrop", "--retain", "99999"), "at most 577"),
    "masking": (("--version", "qwen_1_5", "--official_masking", "True"), "--official_masking"),
    "full batches": (("--dataloader_drop_last", "True", "--per_device_train_batch_size", "64"), "drop_last"),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_settings_are_refused_before_weights_are_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reached(*_: Any) -> None:
        raise Reached

    monkeypatch.setattr("llava.train.train.prepare_model", reached)
    more, said = BAD_SETTINGS[name]
    with pytest.raises(InputError) as refused:
        train(flags(tmp_path, *more))
    assert said in str(refused.value) and "\n" not in str(refused.value) and not (tmp_path / "out").exists()
    with pytest.raises(Reached):
        train(flags(tmp_path))


def test_a_tower_in_the_checkpoints_folder_is_found(tmp_path: Path) -> None:
    inside = json.loads((SHAPES / "config.json").read_text())["mm_vision_tower"]
    assert not Path(inside).is_absolute()
    made = data_arguments(parse(flags(tmp_path, "--vision_tower", inside, model=SHAPES)))
    assert made.image_processor is not None


def test_a_checkpoint_that_is_named_must_be_whole(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-1").mkdir()
    with pytest.raises(InputError, match="--resume_from_checkpoint must name a whole checkpoint"):
        train(flags(tmp_path, "--resume_from_checkpoint", str(tmp_path / "checkpoint-1")))


@pytest.mark.parametrize("lost", ["--data_path", "--model_name_or_path"])
def test_needed_flags(lost: str, tmp_path: Path) -> None:
    given = flags(tmp_path)
    given[given.index(lost) + 1] = ""
    with pytest.raises(InputError, match=lost):
        parse(given)


def test_old_spellings() -> None:
    old = [
        "--evaluation_strategy",
        "no",
        "--warmup_ratio=0.03",
        "--save_safetensors",
        "True",
        "--group_by_length",
        "True",
    ]
    new = ["--eval_strategy", "no", "--warmup_steps", "0.03", "--train_sampling_strategy", "group_by_length"]
    assert modern(old) == new
    checkpointing = next(word for word in modern(["--gradient_checkpointing", "True"]))
    assert checkpointing.removeprefix("--") in {field.name for field in dataclasses.fields(TrainingArguments)}
    assert modern(["--bf16", "True", "--no_cuda", "False"]) == ["--bf16", "True", "--use_cpu", "False"]


def test_the_command_says_it_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    more = ("--version", "no_such_template")
    monkeypatch.setattr(sys, "argv", ["train.py", *flags(tmp_path, *more, data=write_data(tmp_path, TALKS))])
    monkeypatch.delitem(sys.modules, "llava.train.train")  # runpy warns of what it is to run and finds imported
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("llava.train.train", run_name="__main__")
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "--version must name a conversation template" in said.strip().splitlines()[-1]
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists() and json.loads((tmp_path / "data.json").read_text()) == TALKS


def test_the_recipes_flags_bring_no_warning(tmp_path: Path) -> None:
    """transformers warns of its own older name, which LLaVA's recipes use."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        given = parse(flags(tmp_path, "--gradient_checkpointing", "True", "--evaluation_strategy", "no"))
    assert given.training.gradient_checkpointing is True


def test_no_setting_of_a_method_has_the_name_of_a_training_flag() -> None:
    """One of both would be lost without a word; `seed` is the command's own everywhere."""
    own = {
        field.name for kind in (ModelArguments, DataArguments, TrainingArguments) for field in dataclasses.fields(kind)
    }
    settings = {flag_of(field) for name in available() for field in dataclasses.fields(method_class(name))}
    assert settings & own <= {"seed"}
