"""The control: the lots are even, and depend on the seed and the picture alone."""

import dataclasses

import pytest
import torch
from conftest import Load, sample
from fakes import FakeEvidence

from llava.errors import InputError
from llava.model.trace import Trace
from llava.reduction import Geometry, create
from llava.reduction.methods.random import fingerprints, lots


def kept(pixels: torch.Tensor, seed: int = 0, keep: int = 16, patches: int = 256) -> list[list[int]]:
    """What is kept of images with these pixels."""
    evidence = FakeEvidence.random((patches,) * len(pixels), has_cls=True)
    chosen = create("random", keep=keep, seed=seed).at_encoder(dataclasses.replace(evidence, pixels=pixels))
    assert chosen is not None and chosen.merged is None and not chosen.keeps_cls
    return chosen.kept.tolist()


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randn(5, 3, 28, 28, generator=torch.Generator().manual_seed(0))


def test_a_picture_gets_the_same_patches_in_any_batch(pixels: torch.Tensor) -> None:
    together = kept(pixels)
    assert together == [kept(one[None])[0] for one in pixels]
    assert together == kept(pixels.flip(0))[::-1]
    assert together == kept(pixels.double())  # whatever the dtype, if the values are the same


def test_pictures_and_seeds_get_patches_of_their_own(pixels: torch.Tensor) -> None:
    choices = [tuple(row) for seed in (0, 1, 2, -7, 2**63 + 5) for row in kept(pixels, seed)]
    assert len(set(choices)) == 25
    # As many in common as chance has it: 16 * 16 / 256 = 1 a pair, of 300 pairs.
    shared = [len(set(one) & set(other)) for at, one in enumerate(choices) for other in choices[:at]]
    assert 0.8 < sum(shared) / len(shared) < 1.2


def test_one_pixel_counts_and_so_does_its_place(pixels: torch.Tensor) -> None:
    one = torch.zeros(1, 3, 28, 28)
    images = torch.cat([one, one.clone().index_put_([torch.tensor([0])] * 4, torch.tensor(1.0)), pixels[:1]])
    images = torch.cat([images, images[1:2].flip(-1), images[1:2].roll(1, dims=1)])
    assert len(set(fingerprints(images).tolist())) == 5


def test_lots_are_even() -> None:
    drawn = lots(torch.arange(4000), 1, 64)
    assert drawn.dtype == torch.float32 and float(drawn.min()) >= 0 and float(drawn.max()) < 1
    # Standard errors: 0.29 / sqrt(4000) of a patch's mean, sqrt(4000 * 0.25 * 0.75) of how often it is kept.
    assert float((drawn.mean(dim=0) - 0.5).abs().max()) < 4 * 0.29 / 4000**0.5
    often = torch.zeros(64).index_add_(0, drawn.topk(16).indices.flatten(), torch.ones(4000 * 16))
    assert float((often - 1000).abs().max()) < 4 * (4000 * 0.25 * 0.75) ** 0.5
    neighbours = torch.corrcoef(drawn[:, :2].T)[0, 1]
    assert abs(float(neighbours)) < 4 / 4000**0.5


def test_budget_is_shared_out_among_views() -> None:
    made = create("random", keep=64, seed=0)
    assert type(made).from_budget(64, Geometry(32, 576)) == made
    assert type(made).from_budget(320, Geometry(32, 576, views=5)) == made
    assert made.tokens_per_stage(Geometry(32, 576, views=5)) == [320]


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"keep": 0}, "keep must be a whole number of at least 1: got 0"),
        ({"keep": 3, "seed": "a"}, "seed must be a whole number: got 'a'"),
        ({}, "'random' needs keep"),
    ],
)
def test_bad_settings_are_refused(settings: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        create("random", **settings)
    with pytest.raises(InputError, match="got 41, expected at most 40"):
        create("random", keep=41).check(Geometry(12, 40))


@torch.inference_mode()
def test_tiles_keep_the_order_of_the_picture(load: Load) -> None:
    loaded = load("llava-tiny-next", "random", keep=3)
    asked = sample(loaded, "What is it?", "1.png")
    trace = Trace()
    embeds, plan = loaded.model.prepare_inputs(
        asked.input_ids, None, asked.images, asked.image_sizes, loaded.model.reduction, trace
    )
    views = len(asked.images[0])
    [span] = plan.layout.spans
    assert trace.encoder is not None and span.length == 3 * views and views > 2
    tower = loaded.model.get_vision_tower()
    whole = loaded.model.get_model().mm_projector(tower.encode(asked.images[0]).features)
    places = torch.tensor([place for _, place in _by_row(trace.encoder.kept, loaded, asked.image_sizes[0])])
    expected = torch.cat([whole[0, trace.encoder.kept[0]], whole[1:].flatten(0, 1)[places]])
    torch.testing.assert_close(embeds[0, span.start : span.start + span.length], expected, atol=1e-5, rtol=0)


def _by_row(kept: torch.Tensor, loaded: object, size: tuple[int, int]) -> list[tuple[tuple[int, int], int]]:
    """The tiles' patches as ((row, column) in the whole picture, number in the tiles one after the other), sorted."""
    from llava.mm_utils import get_anyres_image_grid_shape

    cols, _ = get_anyres_image_grid_shape(size, loaded.model.config.image_grid_pinpoints, 336)
    side = loaded.model.get_vision_tower().num_patches_per_side
    found = []
    for tile, row in enumerate(kept[1:].tolist()):
        for patch in row:
            place = (tile // cols * side + patch // side, tile % cols * side + patch % side)
            found.append((place, tile * side**2 + patch))
    return sorted(found)
