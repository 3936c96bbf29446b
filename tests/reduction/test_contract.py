"""What every method promises, checked on all that are found. A new method needs nothing here but settings."""

import dataclasses
import importlib

import pytest
import torch
from contract_settings import SETTINGS
from encoder_fakes import PATCHES, FakeViews, before_the_llm, offered
from fake_layers import FakeLayer
from fakes import FakeEvidence

from llava.errors import InputError
from llava.reduction import Geometry, Reduction, available, create, method_class, name_of
from llava.reduction.selection import VIEWS, Selection

LENGTHS = (PATCHES, PATCHES, 25)
RECYCLING = {"sparsevlm"}  # which merge a part of what they drop
GEOMETRY = Geometry(layers=12, patches=PATCHES)
# Their rules need all patches of a view, which is all that an encoder gives; these can do with less.
ANY_LENGTH = ("none", "visionzip", "visiondrop", "random", "fastervlm", "vispruner", "scope")


def stages(method: Reduction) -> list[tuple[str, FakeEvidence, Selection | None]]:
    """Everything a method is asked, with what it answers: before the LLM, then each stage on what was left before."""
    seen = FakeViews.random(method, 3)
    asked: list[tuple[str, FakeEvidence, Selection | None]] = [("encoder", seen, before_the_llm(method, seen))]
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
    assert announced[0] == (PATCHES if encoder is None else encoder.counts[0])
    for count, (_, _, chosen) in zip(announced[1:], stages(method)[1:]):
        assert chosen is not None and chosen.counts[0] == count


def test_kept_tokens_are_real_and_in_their_old_order(method: Reduction) -> None:
    for name, evidence, chosen in stages(method):
        if chosen is None:
            continue
        for row, count in enumerate(chosen.kept_counts):
            kept = chosen.kept[row].tolist()
            own_order = chosen.arrangement == VIEWS
            assert (sorted(kept[:count]) if own_order else kept[:count]) == sorted(set(kept[:count])), name
            length = evidence.lengths[row] if name != "encoder" else PATCHES
            assert all(0 <= index < length for index in kept[:count]), name
            assert all(index == evidence.valid.shape[1] for index in kept[count:]), name


def test_every_token_is_kept_or_merged_once(method: Reduction) -> None:
    for name, evidence, chosen in stages(method):
        if chosen is not None and chosen.assignment is not None:
            slots = chosen.assignment
            assert slots.shape == (len(chosen.kept), PATCHES) and slots.min() == 0
            assert torch.equal(slots.gather(1, chosen.kept), torch.arange(chosen.kept.shape[1]).expand_as(chosen.kept))
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
            alone = before_the_llm(method, one) if name == "encoder" else method.at_layer(int(name), one)
            count = chosen.kept_counts[row]
            assert alone is not None and alone.kept_counts == (count,)
            assert alone.kept[0].tolist() == chosen.kept[row, :count].tolist()
            if chosen.values is not None:
                assert alone.values is not None
                torch.testing.assert_close(alone.values[0, :count], chosen.values[row, :count], atol=1e-5, rtol=0)
            if chosen.merged is not None and chosen.merged.counts[row]:
                assert alone.merged is not None
                own, slots = alone.merged.values[0], chosen.merged.counts[row]
                torch.testing.assert_close(own[:slots], chosen.merged.values[row, :slots], atol=1e-5, rtol=0)


@pytest.mark.parametrize("has_cls", [True, False])
def test_a_short_view_of_a_batch_is_the_view_alone(method: Reduction, has_cls: bool) -> None:
    if name_of(method) not in ANY_LENGTH:
        pytest.skip("this method's rule is about all patches of a view, or it is not asked in the encoder")
    evidence = FakeEvidence.random(LENGTHS, seed=4, has_cls=has_cls)
    chosen = method.at_encoder(evidence)
    for row, length in enumerate(LENGTHS):
        alone = method.at_encoder(evidence.row(row))
        if chosen is None or alone is None:
            assert chosen is alone
            continue
        kept = alone.kept[0].tolist()
        assert chosen.kept[row].tolist() == kept + [PATCHES] * (chosen.kept.shape[1] - len(kept))
        assert alone.kept_counts == (chosen.kept_counts[row],) and max(kept) < length
        assert chosen.scores[row, length:].isneginf().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_dtype_is_kept(method: Reduction, dtype: torch.dtype) -> None:
    evidence, views = FakeLayer.layer((40,), dtype=dtype), FakeViews.random(method, 1, dtype=dtype)
    chosen = [before_the_llm(method, views)]
    if chosen[0] is not None:
        assert chosen[0].tokens(offered(method, views), views.cls_token).dtype == dtype
    chosen += [method.at_layer(stage, evidence) for stage in range(len(method.layers))]
    for selection in chosen:
        if selection is not None:
            assert selection.kept.dtype == torch.int64 and selection.scores.dtype == torch.float32
            assert selection.values is None or selection.values.dtype == dtype
            assert selection.merged is None or selection.merged.values.dtype == dtype


def test_what_is_kept_does_not_depend_on_the_question(method: Reduction) -> None:
    asked, other = FakeLayer.layer((40,), text_seed=8), FakeLayer.layer((40,), text_seed=9)
    same = [
        torch.equal(method.at_layer(stage, asked).kept, method.at_layer(stage, other).kept)
        for stage in range(len(method.layers))
    ]
    assert all(same) is not (method.reads_question and not method.question_at_encoder)


def test_what_is_kept_before_the_llm_does_not_depend_on_the_question(method: Reduction) -> None:
    asked, other = FakeViews.random(method, 1), FakeViews.random(method, 1)
    other.text_rows, other.word_rows = other.text_rows.flip(-1), other.word_rows.flip(-1)
    first, second = before_the_llm(method, asked), before_the_llm(method, other)
    same = first is None or second is None or torch.equal(first.kept, second.kept)
    assert same is not method.question_at_encoder
    assert method.reads_question or not method.question_at_encoder


def test_a_budget_of_everything_changes_nothing(method: Reduction) -> None:
    """But where tokens are folded into those that are kept, or [CLS] or a stage inside the LLM counts as well."""
    if not dataclasses.fields(method) or name_of(method) in ("prumerge", "trim", "prunesid", "visionzip", "vscan"):
        pytest.skip("this method makes a token of others, drops inside the LLM as well, or has no budget")
    if method.layers:
        pytest.skip("this method's budget is of several stages")
    whole = type(method).from_budget(PATCHES, GEOMETRY)
    views = FakeViews.random(whole, 2)
    chosen = before_the_llm(whole, views)
    assert chosen is not None and chosen.counts == (PATCHES,) * 2
    torch.testing.assert_close(chosen.tokens(offered(whole, views)), offered(whole, views), atol=1e-6, rtol=0)


def test_an_image_too_small_to_reduce_is_kept_whole(method: Reduction) -> None:
    if not isinstance(SETTINGS[name_of(method)].get("image_token_list", [0])[0], list):
        pytest.skip("this method keeps shares or works in the encoder alone")
    chosen = method.at_layer(0, FakeLayer.layer((40, 12), seed=5))
    assert chosen.counts == (method.tokens_per_stage(GEOMETRY)[1], 12)
    assert chosen.kept[1, :12].tolist() == list(range(12))


def test_settings_that_do_not_fit_the_depth_are_refused(method: Reduction) -> None:
    method.check(GEOMETRY)
    if method.layers:
        deepest = method.layers[-1]
        with pytest.raises(InputError, match=rf"got {deepest}, expected at most {deepest - 1} for a model of"):
            method.check(Geometry(layers=deepest, patches=PATCHES))
