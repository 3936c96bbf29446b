"""What a configuration says about pictures: the known values, and one line for every other."""

from types import SimpleNamespace
from typing import Any

import pytest

from llava.errors import InputError
from llava.image_config import aspect_ratio, check_image_config, max_length, most_tokens, most_views, patch_merge_type

PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]


def config(**keys: Any) -> SimpleNamespace:
    return SimpleNamespace(**keys)


@pytest.mark.parametrize(
    "ratio",
    ["Pad", "paad", "", "anyres_max", "anyres_max_", "anyres_max_0", "anyres_max_9x", "anyres_9", ["pad"], 1, True],
)
def test_an_unknown_aspect_ratio_is_no_crop_of_the_centre(ratio: Any) -> None:
    with pytest.raises(
        InputError, match="image_aspect_ratio must be known: got .*, expected one of square, crop, pad, anyres, or"
    ):
        aspect_ratio(config(image_aspect_ratio=ratio))


@pytest.mark.parametrize("ratio", ["highres", "crop_split"])
def test_forms_of_training_are_refused_by_name(ratio: str) -> None:
    with pytest.raises(InputError, match=f"^image_aspect_ratio '{ratio}' of LLaVA-NeXT's training is not built here"):
        aspect_ratio(config(image_aspect_ratio=ratio))


@pytest.mark.parametrize(
    "merge",
    ["Flat", "flat_unpad", "spatial_", "spatialunpad", "spatial_pad", "spatial_unpad_unpad", "unpad", "", 0, ["flat"]],
)
def test_an_unknown_merge_type_is_refused(merge: Any) -> None:
    with pytest.raises(InputError, match="mm_patch_merge_type must be known: .* expected flat, spatial, spatial_unp"):
        patch_merge_type(config(mm_patch_merge_type=merge))


def test_what_is_absent_or_null_is_llavas_default() -> None:
    for settings in (
        config(),
        config(image_aspect_ratio=None, mm_patch_merge_type=None, tokenizer_model_max_length=None),
    ):
        assert (aspect_ratio(settings), patch_merge_type(settings), max_length(settings)) == (None, "flat", None)
    assert [aspect_ratio(config(image_aspect_ratio=known)) for known in ("crop", "pad", "anyres_max_9")] == [
        "crop",
        "pad",
        "anyres_max_9",
    ]


def test_the_length_at_which_prompts_are_cut() -> None:
    assert max_length(config(tokenizer_model_max_length=4096)) == 4096
    assert max_length(config(tokenizer_model_max_length=1e30)) == int(1e30)  # a tokenizer's "no limit"
    for wrong in (0, -1, 2.5, "2048", True, [2048], float("nan"), float("inf")):
        with pytest.raises(InputError, match="tokenizer_model_max_length must be a whole number of at least 1: got"):
            max_length(config(tokenizer_model_max_length=wrong))


@pytest.mark.parametrize("pinpoints", [PINPOINTS, str(PINPOINTS), str([tuple(pair) for pair in PINPOINTS])])
def test_views_and_tokens_of_the_largest_image_whatever_form_pinpoints_have(pinpoints: Any) -> None:
    anyres = {"image_aspect_ratio": "anyres", "image_grid_pinpoints": pinpoints}
    assert most_views(config(**anyres), 336) == 5
    assert most_tokens(config(**anyres), 336, 24) == 2880
    assert most_tokens(config(**anyres, mm_patch_merge_type="spatial"), 336, 24) == 2880
    assert most_tokens(config(**anyres, mm_patch_merge_type="spatial_unpad"), 336, 24) == 2880 + 48
    assert most_tokens(config(**anyres, mm_vision_select_feature="cls_patch"), 336, 24) == 5 * 577


@pytest.mark.parametrize(
    ("pinpoints", "views"),
    [([[672, 672]], 5), ([[1008, 672]], 7), ([[336, 336]], 2), ("(1x1),...,(6x6)", 37), ([[672, 672]] * 3, 5)],
)
def test_tiles_are_counted_by_the_towers_edge(pinpoints: Any, views: int) -> None:
    assert most_views(config(image_aspect_ratio="anyres", image_grid_pinpoints=pinpoints), 336) == views


def test_other_aspect_ratios_have_one_view_whatever_pinpoints_say() -> None:
    for ratio in (None, "pad", "square"):
        settings = config(
            image_aspect_ratio=ratio, image_grid_pinpoints="no matter", mm_patch_merge_type="spatial_unpad"
        )
        assert (most_views(settings, 336), most_tokens(settings, 336, 24)) == (1, 577)


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"image_aspect_ratio": "anyres"}, "image_grid_pinpoints must list .* got None"),
        ({"image_aspect_ratio": "anyres", "image_grid_pinpoints": [[224, 448]]}, "got 224 x 448 .* tower's 336"),
        ({"image_aspect_ratio": "anyres_max_9"}, "image_grid_pinpoints must list .* got None"),
        ({"mm_patch_merge_type": "maxpool2x2"}, "mm_patch_merge_type must be known: got 'maxpool2x2'"),
        ({"mm_vision_select_feature": "cls"}, "mm_vision_select_feature must be known: got 'cls', .* patch, cls_patch"),
        (
            {
                "mm_vision_select_feature": "cls_patch",
                "mm_patch_merge_type": "spatial",
                "image_aspect_ratio": "anyres",
                "image_grid_pinpoints": PINPOINTS,
            },
            r"'spatial' lays the patches of tiles out .* in which \[CLS\] has no place",
        ),
        ({"tokenizer_model_max_length": 0}, "tokenizer_model_max_length must be"),
        ({"mm_hidden_size": 3072}, "mm_hidden_size must be the width of the vision tower: got 3072, expected 1024"),
    ],
)
def test_settings_that_fit_neither_each_other_nor_the_tower(keys: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as error:
        check_image_config(config(**keys), 336, 1024)
    assert "\n" not in str(error.value)


def test_published_configurations_pass() -> None:
    check_image_config(config(image_aspect_ratio="pad", mm_hidden_size=1024, s2=False), 336, 1024)
    anyres = {"image_aspect_ratio": "anyres", "image_grid_pinpoints": PINPOINTS, "mm_patch_merge_type": "spatial_unpad"}
    check_image_config(config(**anyres, tokenizer_model_max_length=4096), 336, 1024)
    for merge in ("flat", "spatial", "spatial_unpad"):  # one view: [CLS] is one token more
        one_view = config(mm_vision_select_feature="cls_patch", mm_patch_merge_type=merge)
        check_image_config(one_view, 336, 1024)
        assert most_tokens(one_view, 336, 24) == 577 + (merge == "spatial_unpad")
