"""What a method must fit into: for the largest picture, for one picture, for a video."""

from types import SimpleNamespace

import pytest
import torch
from conftest import PARITY, Load
from hypothesis import given, settings
from hypothesis import strategies as st

from llava.errors import InputError
from llava.mm_utils import open_image, process_picture
from llava.model.geometry import geometry_of, image_geometry_of, video_geometry_of
from llava.pinpoints import get_anyres_image_grid_shape

ONEVISION = SimpleNamespace(
    num_hidden_layers=28,
    image_aspect_ratio="anyres_max_9",
    mm_patch_merge_type="spatial_unpad",
    image_grid_pinpoints="(1x1),...,(6x6)",
    mm_spatial_pool_mode="bilinear",
)
SIGLIP = SimpleNamespace(
    model_type="siglip_vision_model", image_size=384, patch_size=14, hidden_size=1152, num_hidden_layers=27
)
CLIP = SimpleNamespace(
    model_type="clip_vision_model", image_size=336, patch_size=14, hidden_size=1024, num_hidden_layers=24
)


@pytest.mark.parametrize(
    ("size", "tokens"),
    [((500, 375), 1728), ((420, 1180), 4941), ((1500, 1400), 7274), ((300, 260), 1373)],  # as LLaVA-NeXT counts them
)
def test_a_picture_of_onevision_has_its_own_tokens(size: tuple[int, int], tokens: int) -> None:
    columns, rows = get_anyres_image_grid_shape(size, ONEVISION.image_grid_pinpoints, 384)
    own = image_geometry_of(ONEVISION, SIGLIP, 1 + columns * rows, size)
    assert (own.views, own.patches, own.most_tokens, own.has_cls) == (1 + columns * rows, 729, tokens, False)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 6000), st.integers(1, 6000))
def test_no_picture_of_onevision_has_more_tokens_than_the_largest(width: int, height: int) -> None:
    columns, rows = get_anyres_image_grid_shape((width, height), ONEVISION.image_grid_pinpoints, 384)
    own = image_geometry_of(ONEVISION, SIGLIP, 1 + columns * rows, (width, height))
    most = geometry_of(ONEVISION, SIGLIP)
    assert own.most_tokens <= most.most_tokens == 8829 and own.views <= most.views == 37


def test_the_largest_picture_of_onevision_is_little_smaller_than_what_is_said() -> None:
    """The bound takes every width of padding for possible; a picture with so much of it would get a smaller grid."""
    assert get_anyres_image_grid_shape((762, 2060), ONEVISION.image_grid_pinpoints, 384) == (2, 6)
    assert image_geometry_of(ONEVISION, SIGLIP, 13, (762, 2060)).most_tokens == 8759


@pytest.mark.parametrize(
    ("keys", "frames", "tokens"),
    [
        ({}, 32, 32 * 196 + 1),
        ({"mm_newline_position": "no_token"}, 8, 8 * 196),
        ({"mm_newline_position": "frame"}, 8, 8 * 197),
        ({"mm_newline_position": "grid", "mm_spatial_pool_mode": "average"}, 8, 8 * 13 * 14),
        ({"mm_patch_merge_type": "flat", "mm_newline_position": "grid"}, 1, 196),
        ({"mm_patch_merge_type": "spatial"}, 2, 392),
        ({"mm_spatial_pool_mode": None, "image_aspect_ratio": "pad"}, 4, 4 * 169 + 1),
    ],
)
def test_a_video_has_the_views_and_tokens_of_its_frames(keys: dict, frames: int, tokens: int) -> None:
    config = SimpleNamespace(**vars(ONEVISION) | keys)
    found = video_geometry_of(config, SIGLIP, frames)
    assert (found.views, found.frames, found.patches, found.most_tokens) == (frames, frames, 729, tokens)
    assert image_geometry_of(config, SIGLIP, frames, None, "video") == found
    assert geometry_of(config, SIGLIP).frames == 0


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"mm_spatial_pool_mode": "conv"}, "mm_spatial_pool_mode must be known: got 'conv', expected one of average,"),
        ({"mm_newline_position": "row"}, "mm_newline_position must be known: got 'row', expected one of one_token,"),
        ({"mm_newline_position": "grid", "mm_patch_merge_type": "spatial"}, "'grid' needs the newline token"),
        ({"add_faster_video": True}, "two frame rates at once"),
        ({"mm_vision_select_feature": "cls_patch"}, r"frames of a video .* in which \[CLS\] has no place"),
    ],
)
def test_what_is_said_of_videos_is_judged_where_there_is_one(keys: dict, complaint: str) -> None:
    config = SimpleNamespace(num_hidden_layers=4, mm_patch_merge_type="spatial_unpad")
    vars(config).update(keys)
    geometry_of(config, CLIP)
    with pytest.raises(InputError, match=complaint):
        video_geometry_of(config, CLIP, 4)


def test_a_stride_that_is_not_read_is_said() -> None:
    """LLaVA-NeXT pools by 2 whatever `mm_spatial_pool_stride` says."""
    config = SimpleNamespace(num_hidden_layers=4, mm_spatial_pool_stride=4)
    with pytest.warns(UserWarning, match="mm_spatial_pool_stride is 4, which LLaVA-NeXT does not read"):
        assert video_geometry_of(config, CLIP, 2).most_tokens == 2 * 144


def test_a_picture_s_own_geometry_is_what_enters_the_llm(load: Load) -> None:
    for name, file, beside in (
        ("families/ov-qwen", "families/images/tall.png", False),
        ("families/ov-qwen", "families/images/small.png", True),
        ("families/video-llama", "images/1.png", False),
    ):
        loaded, picture = load(name), open_image(PARITY / file)
        model, tower = loaded.model, loaded.model.get_vision_tower()
        pixels, modality = process_picture(picture, loaded.processor, model.config, beside)
        views = len(pixels) if pixels.ndim == 4 else 1
        own = image_geometry_of(model.config, tower.config, views, picture.size, modality)
        with torch.inference_mode():
            tokens = model.encode_images([pixels], [picture.size], modalities=[modality])[1]
        assert tokens == [own.most_tokens] and own.views == views
