"""Flags that do nothing alone, that ask for opposite things, or that would write over what training starts from."""

from pathlib import Path

import pytest
import torch
from training_runs import TALKS, TINY, blind_base, flags, projector_file, write_data

from llava.errors import InputError
from llava.train.flags import parse
from llava.train.output import WEIGHTS
from llava.train.train import data_arguments, train
from llava.train.wording import reworded

ALONE = {
    "rank": ("--lora_r", "8"),
    "scale": ("--lora-alpha=8",),
    "where": ("--lora_qv_proj_only", "True"),
    "quantisation": ("--lora_enable", "True", "--quant_type", "fp4"),
    "grids": ("--image_grid_pinpoints", "[[336,672]]"),
    "rate of a frozen projector": ("--mm_projector_lr", "1e-4", "--freeze_mm_mlp_adapter", "True"),
    "projector only, and the tower": ("--tune_mm_mlp_adapter", "True", "--unfreeze_mm_vision_tower", "True"),
    "no rate": ("--learning_rate", "1e-400"),
    "no template": ("--version", ""),
    "no tower": ("--vision_tower", ""),
    "evaluation before the first step": ("--eval_on_start", "True"),
    "the best": ("--save_strategy", "best"),
    "another's kernels": ("--use_liger_kernel", "True"),
    "no repository": ("--push_to_hub", "True", "--hub_model_id", "a/b/c"),
    "noise": ("--neftune_noise_alpha", "-5"),
}


@pytest.mark.parametrize("name", ALONE)
def test_flags_that_would_do_nothing_are_refused(name: str, tmp_path: Path) -> None:
    more = ALONE[name]
    with pytest.raises(InputError) as refused:
        parse(flags(tmp_path, *more))
    named = more[-2 if len(more) > 1 else 0].partition("=")[0].replace("-", "_").lstrip("_")
    assert named in str(refused.value) and "\n" not in str(refused.value)


def test_a_partner_that_is_off_is_there(tmp_path: Path) -> None:
    given = parse(flags(tmp_path, "--lora_enable", "False", "--lora_r", "8", "--bits", "16", "--double_quant", "True"))
    assert not given.training.lora_enable and given.training.lora_r == 8
    assert parse(flags(tmp_path, "--learning_rate", "0", "--mm_projector_lr", "1e-4")).training.mm_projector_lr == 1e-4


def test_a_flag_with_dashes_is_said(tmp_path: Path) -> None:
    """The checkpoint's own would take its place."""
    given = parse(flags(tmp_path, "--mm-vision-select-feature", "cls_patch", "--image-aspect-ratio=square"))
    assert given.model.mm_vision_select_feature == "cls_patch" and given.data.image_aspect_ratio == "square"


def test_a_method_needs_a_tower_before_weights_are_read(tmp_path: Path) -> None:
    given = flags(tmp_path, "--method", "visiondrop", "--retain", "64", data=write_data(tmp_path, TALKS[1:2]))
    for flag in ("--vision_tower", "--image_folder"):
        del given[given.index(flag) : given.index(flag) + 2]
    with pytest.raises(InputError, match="--method visiondrop reduces image tokens: got no --vision_tower"):
        parse(given)


def test_a_folder_that_training_starts_from_is_not_written(tmp_path: Path) -> None:
    for source in (TINY, f"{TINY}/../llava-tiny/", TINY / "vision_tower"):
        with pytest.raises(InputError, match="--output_dir must be another folder"):
            parse(flags(tmp_path, "--output_dir", str(source)))


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/none", "a" * 300])
def test_a_folder_that_cannot_be_written_is_named(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="--output_dir must be a folder that can be written"):
        parse(flags(tmp_path, "--output_dir", str(tmp_path / place)))
    assert [path.name for path in tmp_path.iterdir()] in (["file", "data.json"], ["data.json", "file"])


@pytest.mark.parametrize(
    ("mode", "more"),
    [
        ("full", ()),
        ("lora", ("--lora_enable", "True")),
        ("projector", ("--tune_mm_mlp_adapter", "True")),
    ],
)
def test_a_run_of_another_kind_keeps_its_folder(mode: str, more: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for other, files in WEIGHTS.items():
        (tmp_path / "out" / files[0]).touch()
        if other == mode:
            parse(flags(tmp_path, *more))
        else:
            with pytest.raises(InputError, match=rf"holds {files[0]} \({other}\), and this run trains {mode}"):
                parse(flags(tmp_path, *more))
        (tmp_path / "out" / files[0]).unlink()


def test_a_projector_must_be_the_finished_model_s(tmp_path: Path) -> None:
    """Its weights would stay, under another kind's name in config.json."""
    for kind in ("linear", "mlp3x_gelu", "identity"):
        with pytest.raises(InputError, match=f"--mm_projector_type must be that of the LLaVA .* got '{kind}'"):
            data_arguments(parse(flags(tmp_path, "--mm_projector_type", kind)))


@pytest.mark.parametrize("kind", ["nan", "whole", "wide"])
def test_a_projector_s_file_must_hold_its_numbers(kind: str, tmp_path: Path) -> None:
    path, base = projector_file(tmp_path), blind_base(tmp_path)
    held = torch.load(path, weights_only=True)
    change = {"nan": lambda x: x * torch.nan, "whole": torch.Tensor.long, "wide": lambda x: torch.cat([x, x])}[kind]
    torch.save({name: change(tensor) for name, tensor in held.items()}, path)
    with pytest.raises(InputError, match="of a wrong shape" if kind == "wide" else "must be made of finite numbers"):
        data_arguments(parse(flags(tmp_path, "--pretrain_mm_mlp_adapter", str(path), model=base)))


def test_flags_are_named_where_a_checkpoint_s_entries_are_judged(tmp_path: Path) -> None:
    for more, said in (
        (("--mm_vision_select_layer", "0"), "--mm_vision_select_layer must name a layer's output: got 0"),
        (("--image_aspect_ratio", "Pad"), "--image_aspect_ratio must be known: got 'Pad'"),
        (("--vision_tower", str(tmp_path)), "--vision_tower must be reachable"),
        (("--vision_tower", "openai/clip-vit-large-patch14-336"), "name the tower it was trained with (--vision_tower"),
        (("--model_name_or_path", str(tmp_path / "none")), "check --model_name_or_path"),
    ):
        with pytest.raises(InputError) as refused:
            train(flags(tmp_path, *more))
        assert said in str(refused.value) and "config.json or" not in str(refused.value)
    assert reworded("another rule; its remedy") == "another rule; its remedy"


def test_no_room_behind_a_picture_is_said_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data_arguments(parse(flags(tmp_path, "--model_max_length", "577")))
    assert not caplog.messages
    data_arguments(parse(flags(tmp_path, "--model_max_length", "512", "--method", "visionzip", "--retain", "64")))
    assert not caplog.messages
    data_arguments(parse(flags(tmp_path, "--model_max_length", "512")))
    assert "--model_max_length 512 leaves no room for an answer behind a picture of 576 tokens" in caplog.text


def test_a_projector_of_random_numbers_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    base, said = blind_base(tmp_path), "the projector begins with random numbers"
    for more in (("--tune_mm_mlp_adapter", "True"), ("--pretrain_mm_mlp_adapter", str(projector_file(tmp_path)))):
        data_arguments(parse(flags(tmp_path, *more, model=base)))
    data_arguments(parse(flags(tmp_path)))
    assert said not in caplog.text
    data_arguments(parse(flags(tmp_path, model=base)))
    assert said in caplog.text
