"""What a run writes into config.json: LLaVA's fields, by which its code and ours load what was trained."""

import json
from pathlib import Path

from shallow import shallow
from training_runs import blind_base, flags

from llava.train.flags import parse
from llava.train.model import next_pinpoints
from llava.train.train import finish, make_trainer

GRIDS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]


def test_the_configuration_says_what_the_flags_say(tmp_path: Path) -> None:
    tower = str(shallow("llava-tiny-next") / "vision_tower")
    more = (
        *("--vision_tower", tower, "--tune_mm_mlp_adapter", "True"),
        *("--image_aspect_ratio", "anyres", "--mm_patch_merge_type", "spatial_unpad"),
        *("--mm_projector_lr", "2e-5", "--model_max_length", "1234", "--mm_vision_select_layer", "-3"),
    )
    trainer = make_trainer(parse(flags(tmp_path, *more, model=blind_base(tmp_path))))
    assert trainer.llava.config.use_cache is False  # as long as it trains
    finish(trainer)
    config = json.loads((tmp_path / "out/config.json").read_text())
    wanted = {
        "model_type": "llava_llama",
        "use_cache": True,
        "use_mm_proj": True,
        "mm_vision_tower": tower,
        "mm_projector_type": "mlp2x_gelu",
        "mm_hidden_size": trainer.llava.get_vision_tower().hidden_size,
        "mm_vision_select_layer": -3,
        "mm_vision_select_feature": "patch",
        "mm_patch_merge_type": "spatial_unpad",
        "image_aspect_ratio": "anyres",
        "image_grid_pinpoints": GRIDS,
        "tokenizer_padding_side": "right",
        "tokenizer_model_max_length": 1234,
        "tune_mm_mlp_adapter": True,
        "freeze_mm_mlp_adapter": False,
        "mm_use_im_start_end": False,
        "mm_use_im_patch_token": False,
        "mm_projector_lr": 2e-5,
        "vocab_size": 700,
    }
    assert {name: config.get(name, "nothing") for name in wanted} == wanted
    assert "unfreeze_mm_vision_tower" not in config


def test_the_grids_of_tiles_are_those_of_llava_next() -> None:
    assert next_pinpoints(336) == GRIDS
    assert next_pinpoints(224)[-2:] == [[672, 224], [224, 672]]
