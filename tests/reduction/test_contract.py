"""What every method promises, checked on all that are found. A new method needs nothing here but settings."""

import dataclasses
import importlib

import pytest
import torch
from fake_layers import FakeLayer
from fakes import FakeEvidence

from llava.errors import InputError
from llava.reduction import Geometry, Reduction, available, create, method_class, name_of
from llava.reduction.selection import Selection

LENGTHS = (40, 40, 25)
# Settings that drop something from images of 40 patches in a model of 12 layers.
SETTINGS = {
    "none": {},
    "visionzip": {"dominant": 11, "contextual": 4},
    "visiondrop": {
        "dominant": 13,
        "contextual": 5,
        "layer_list": [3, 6, 9],
        "image_token_list": [[10, 3], [6, 3], [3, 2]],
    },
    "random": {"keep": 9, "seed": 3},
    "fastervlm": {"visual_token_num": 9},
    "vispruner": {"visual_token_num": 9, "important_ratio": 0.4},
    "scope": {"num_token": 9, "alpha": 1.5},
    "fastv": {"fast_v_agg_layer": 9, "fast_v_attention_rank": 15},
    "dart": {"pruned_layer": 9, "max_num_trunction": 21},
    "sparsevlm": {"layer_list": [3, 6, 9], "image_token_list": [24, 11, 4]},
    "v2drop": {"layer_list": [3, 6, 9], "keep_ratio_list": [0.6, 0.5, 0.0]},
    "vtw": {"layer": 9},
    "pyramiddrop": {"layer_list": [3, 6, 9], "image_token_ratio_list": [0.5, 0.25, 0.125]},
}
RECYCLING = {"sparsevlm"}  # which merge a part of what they drop
GEOMETRY = Geometry(layers=12, patches=40)


def stages(method: Reduction) -> list[tuple[str, FakeEvidence, Selection | None]]:
    """Everything a method is asked, with what it answers: the encoder, then each stage on what was left before."""
    seen = FakeEvidence.random((40, 40, 40), has_cls=True)
    asked: list[tuple[str, FakeEvidence, Selection | None]] = [("encoder", seen, method.at_encoder(seen))]
    lengths, initial = LENGTHS, LENGTHS
    for stage in range(len(method.layers)):
        evidence = FakeLayer.layer(lengths, seed=stage + 1, initial_lengths=initial)
        chosen = method.at_layer(stage, evidence)
        asked.append((f"stage {stage}", evidence, chosen))
        lengths = chosen.counts
    return asked


@pytest.fixture(params=available())
def method(request: pytest.FixtureRequest) -> Reduction:
    assert request.param in SETTINGS, f"give the new method '{request.param}' settings in this test"
    return create(request.param, **SETTINGS[request.param])


def test_settings_are_frozen_and_become_flags(method: Reduction) -> None:
    for setting in dataclasses.fields(method):
        assert setting.metadata["help"]
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(method, setting.name, None)


def test_file_opens_with_the_idea_and_names_its_paper(method: Reduction) -> None:
    text = importlib.import_module(type(method).__module__).__doc__
    assert text is not None
    assert name_of(method) == "none" or "arXiv" in text


def test_name_leads_back_to_the_method(method: Reduction) -> None:
    assert type(create(name_of(method), **SETTINGS[name_of(method)])) is type(method)
    assert method_class(name_of(method)) is type(method)


def test_lists_given_are_copied(method: Reduction) -> None:
    settings = {name: list(v) if isinstance(v, list) else v for name, v in SETTINGS[name_of(method)].items()}
    made = create(name_of(method), **settings)
    for value in settings.values():
        if isinstance(value, list):
            value.clear()
    assert made == method


def test_counts_are_those_announced(method: Reduction) -> None:
    announced = method.tokens_per_stage(GEOMETRY)
    assert len(announced) == 1 + len(method.layers)
    _, _, encoder = stages(method)[0]
    assert announced[0] == (40 if encoder is None else encoder.counts[0])
    for count, (_, _, chosen) in zip(announced[1:], stages(method)[1:]):
        assert chosen is not None and chosen.counts[0] == count


def test_kept_tokens_are_real_and_in_their_old_order(method: Reduction) -> None:
    for name, evidence, chosen in stages(method):
        if chosen is None:
            continue
        for row, count in enumerate(chosen.kept_counts):
            kept = chosen.kept[row].tolist()
            assert kept[:count] == sorted(set(kept[:count])), name
            assert all(0 <= index < evidence.lengths[row] for index in kept[:count]), name
            assert all(index == evidence.valid.shape[1] for index in kept[count:]), name


def test_every_token_is_kept_or_merged_once(method: Reduction) -> None:
    for name, evidence, chosen in stages(method):
        if chosen is None or chosen.merged is None:
            continue
        for row, length in enumerate(evidence.lengths):
            kept = set(chosen.kept[row, : chosen.kept_counts[row]].tolist())
            merged = {at for at, slot in enumerate(chosen.merged.assignment[row].tolist()) if slot >= 0}
            if chosen.merged.counts[row]:
                assert kept | merged <= set(range(length)) and not kept & merged, name
                assert kept | merged == set(range(length)) or name_of(method) in RECYCLING, name


def test_a_row_of_a_batch_is_the_row_alone(method: Reduction) -> None:
    names = ["encoder", *range(len(method.layers))]
    for name, (_, evidence, chosen) in zip(names, stages(method)):
        if chosen is None:
            continue
        for row in range(3):
            one = evidence.row(row)
            alone = method.at_encoder(one) if name == "encoder" else method.at_layer(int(name), one)
            count = chosen.kept_counts[row]
            assert alone is not None and alone.kept_counts == (count,)
            assert alone.kept[0].tolist() == chosen.kept[row, :count].tolist()
            if chosen.merged is not None and chosen.merged.counts[row]:
                assert alone.merged is not None
                torch.testing.assert_close(alone.merged.values[0], chosen.merged.values[row], atol=1e-5, rtol=0)


@pytest.mark.parametrize("has_cls", [True, False])
def test_a_short_view_of_a_batch_is_the_view_alone(method: Reduction, has_cls: bool) -> None:
    evidence = FakeEvidence.random(LENGTHS, seed=4, has_cls=has_cls)
    chosen = method.at_encoder(evidence)
    for row, length in enumerate(LENGTHS):
        alone = method.at_encoder(evidence.row(row))
        if chosen is None or alone is None:
            assert chosen is alone
            continue
        kept = alone.kept[0].tolist()
        assert chosen.kept[row].tolist() == kept + [40] * (chosen.kept.shape[1] - len(kept))
        assert alone.kept_counts == (chosen.kept_counts[row],) and max(kept) < length
        assert chosen.scores[row, length:].isneginf().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_dtype_is_kept(method: Reduction, dtype: torch.dtype) -> None:
    evidence = FakeEvidence.random((40,), has_cls=True, dtype=dtype)
    chosen = [method.at_encoder(evidence)]
    layer = FakeLayer.layer((40,), dtype=dtype)
    chosen += [method.at_layer(stage, layer) for stage in range(len(method.layers))]
    for selection in chosen:
        if selection is not None:
            assert selection.kept.dtype == torch.int64 and selection.scores.dtype == torch.float32
            assert selection.merged is None or selection.merged.values.dtype == dtype


def test_what_is_kept_does_not_depend_on_the_question(method: Reduction) -> None:
    asked, other = FakeLayer.layer((40,), text_seed=8), FakeLayer.layer((40,), text_seed=9)
    same = [
        torch.equal(method.at_layer(stage, asked).kept, method.at_layer(stage, other).kept)
        for stage in range(len(method.layers))
    ]
    assert all(same) is not method.reads_question


def test_an_image_too_small_to_reduce_is_kept_whole(method: Reduction) -> None:
    if "image_token_list" not in SETTINGS[name_of(method)]:
        pytest.skip("this method keeps shares or works in the encoder alone")
    chosen = method.at_layer(0, FakeLayer.layer((40, 12), seed=5))
    assert chosen.counts == (method.tokens_per_stage(GEOMETRY)[1], 12)
    assert chosen.kept[1, :12].tolist() == list(range(12))


def test_settings_that_do_not_fit_the_depth_are_refused(method: Reduction) -> None:
    method.check(GEOMETRY)
    if method.layers:
        with pytest.raises(InputError, match=r"got 9, expected at most 8 for a model of 9 layers"):
            method.check(Geometry(layers=9, patches=40))


def test_encoder_keeps_everything_when_counts_say_so() -> None:
    zip_all = create("visionzip", dominant=40, contextual=1)
    evidence = FakeEvidence.random((40,), has_cls=True)
    chosen = zip_all.at_encoder(evidence)
    assert chosen is not None and chosen.kept_counts == (39,) and chosen.counts == (41,)
    [left] = set(range(40)) - set(chosen.kept[0].tolist())
    assert chosen.merged is not None
    torch.testing.assert_close(chosen.merged.values[0, 0], evidence.values[0, left])


def test_patches_of_an_encoder_without_cls_are_ranked_by_what_they_receive() -> None:
    evidence = FakeEvidence.random((40,), has_cls=False)
    chosen = create("visionzip", dominant=11, contextual=4).at_encoder(evidence)
    assert chosen is not None and not chosen.keeps_cls and chosen.counts == (15,)
    best = evidence.image_rows[0].mean(0).mean(0).topk(11).indices.sort().values
    assert torch.equal(chosen.kept[0], best)


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(InputError, match="'fastvv': expected one of dart, fastervlm, fastv, none, "):
        create("fastvv")


def test_settings_of_another_method_are_refused() -> None:
    with pytest.raises(InputError, match="'visionzip' has no setting 'layer_list': expected one of dominant, contextu"):
        create("visionzip", dominant=2, contextual=1, layer_list=[3])
    with pytest.raises(InputError, match="'none' has no setting 'dominant': expected none"):
        create("none", dominant=2)
    with pytest.raises(InputError, match="'visiondrop' needs layer_list, image_token_list; give them"):
        create("visiondrop", dominant=2, contextual=1)
