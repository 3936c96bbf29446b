"""FasterVLM, VisPruner and SCOPE: settings, budgets, and what each makes of the evidence."""

from typing import Any

import pytest
import torch
from fakes import FakeEvidence

from llava.errors import InputError
from llava.reduction import Geometry, Reduction, create, method_class
from llava.reduction.schedule import average_tokens, describe, parse_setting
from llava.reduction.selection import Selection

COUNT_OF = {"fastervlm": "visual_token_num", "vispruner": "visual_token_num", "scope": "num_token"}
METHODS = pytest.mark.parametrize("name", COUNT_OF)
CLIP_336 = Geometry(layers=32, patches=576)


def kept(method: Reduction, evidence: FakeEvidence) -> Selection:
    chosen = method.at_encoder(evidence)
    assert chosen is not None and chosen.merged is None and not chosen.keeps_cls
    return chosen


@METHODS
def test_keeping_as_many_as_there_are_keeps_them_all_in_order(name: str) -> None:
    evidence = FakeEvidence.random((40, 25), has_cls=True)
    chosen = kept(create(name, **{COUNT_OF[name]: 40}), evidence)
    assert chosen.kept.tolist() == [list(range(40)), [*range(25), *[40] * 15]] and chosen.counts == (40, 25)


@METHODS
@pytest.mark.parametrize(("retain", "views", "each"), [(64, 1, 64), (192, 1, 192), (320, 5, 64), (7, 5, 1)])
def test_budget_is_shared_out_among_views(name: str, retain: int, views: int, each: int) -> None:
    geometry = Geometry(32, 576, views=views)
    made = method_class(name).from_budget(retain, geometry)
    made.check(geometry)
    assert made == create(name, **{COUNT_OF[name]: each})
    assert average_tokens(made, geometry) == each * views and not made.reads_question and made.layers == []


@METHODS
def test_a_budget_of_less_than_a_token_for_each_view_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} must be at least 1 for each of 5 views: got 4, expected at least 5"):
        method_class(name).from_budget(4, Geometry(32, 576, views=5))
    with pytest.raises(InputError, match="for each of 8 frames: got 7"):
        method_class(name).from_budget(7, Geometry(32, 576, views=8, frames=8))


@METHODS
def test_described_settings_are_read_back(name: str) -> None:
    made = method_class(name).from_budget(64, CLIP_336)
    words = describe(made, CLIP_336).split(": ")[0].split()
    kinds = {field.name: field.type for field in type(made).__dataclass_fields__.values()}
    flags = zip((flag.removeprefix("--") for flag in words[::2]), words[1::2])
    assert create(name, **{flag: parse_setting(flag, kinds[flag], text) for flag, text in flags}) == made


@METHODS
def test_more_than_the_encoder_has_is_refused(name: str) -> None:
    create(name, **{COUNT_OF[name]: 576}).check(CLIP_336)
    with pytest.raises(InputError, match=rf"{COUNT_OF[name]} must not exceed what the encoder has: got 577, expected"):
        create(name, **{COUNT_OF[name]: 577}).check(CLIP_336)
    with pytest.raises(InputError, match="must not exceed what the encoder has: got 9999"):
        method_class(name).from_budget(int("9" * 400), CLIP_336).check(CLIP_336)


@pytest.mark.parametrize(
    ("name", "settings", "complaint"),
    [
        ("fastervlm", {}, "'fastervlm' needs visual_token_num; give it"),
        ("fastervlm", {"visual_token_num": 0}, "visual_token_num must be a whole number of at least 1: got 0"),
        ("vispruner", {"visual_token_num": 2.0}, "visual_token_num must be a whole number of at least 1: got 2.0"),
        ("vispruner", {"visual_token_num": 8, "important_ratio": 1.1}, "important_ratio .* at most 1: got 1.1"),
        ("vispruner", {"visual_token_num": 8, "important_ratio": -0.1}, "a number of at least 0 and at most 1: got -0"),
        ("vispruner", {"visual_token_num": 8, "important_ratio": True}, "important_ratio must be a number .* got True"),
        ("vispruner", {"visual_token_num": 8, "important_ratio": float("nan")}, "important_ratio must be .* got nan"),
        ("vispruner", {"visual_token_num": 8, "published": 1}, "published must be true or false: got 1"),
        ("scope", {"num_token": 8, "alpha": float("inf")}, "alpha must be a number of at least 0: got inf"),
        ("scope", {"num_token": 8, "alpha": 10**400}, "alpha must be a number of at least 0: got 1000"),
        ("scope", {"num_token": 8, "alpha": "1"}, "alpha must be a number of at least 0: got '1'"),
        ("scope", {"num_token": 8, "combined": "mul"}, "combined must be multi or add: got 'mul'"),
        ("scope", {"num_token": 8, "combined": []}, r"combined must be multi or add: got \[\]"),
    ],
)
def test_bad_settings_are_refused_in_one_line(name: str, settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as refused:
        create(name, **settings)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("count", "ratio", "odd"), [(50, 0.5, 551), (63, 0.5, 545), (2, 0.5, 575), (64, 0.55, 541)])
def test_vispruner_as_published_refuses_what_the_released_code_fails_on(count: int, ratio: float, odd: int) -> None:
    settings = {"visual_token_num": count, "important_ratio": ratio}
    create("vispruner", **settings).check(CLIP_336)
    with pytest.raises(InputError, match=f"must pair an even number of patches: got {odd} after"):
        create("vispruner", **settings, published=True).check(CLIP_336)
    for fine in (64, 128, 192, 52):
        create("vispruner", visual_token_num=fine, published=True).check(CLIP_336)


def test_fastervlm_is_visionzip_without_contextual_tokens_and_cls() -> None:
    evidence = FakeEvidence.random((40, 25), has_cls=True, seed=2)
    zipped = create("visionzip", dominant=10, contextual=4).at_encoder(evidence)
    assert zipped is not None
    assert torch.equal(kept(create("fastervlm", visual_token_num=9), evidence).kept, zipped.kept)


def test_vispruner_of_one_share_is_fastervlm() -> None:
    evidence = FakeEvidence.random((40,), has_cls=True, seed=3)
    all_important = create("vispruner", visual_token_num=9, important_ratio=1)
    faster = kept(create("fastervlm", visual_token_num=9), evidence)
    assert torch.equal(kept(all_important, evidence).kept, faster.kept)
    diverse = kept(create("vispruner", visual_token_num=9, important_ratio=0), evidence)
    assert not torch.equal(diverse.kept, faster.kept) and torch.equal(diverse.scores, faster.scores)


def test_scope_prefers_attention_as_its_power_rises() -> None:
    evidence = FakeEvidence.random((40,), has_cls=True, seed=4)
    best = set(evidence.cls_rows.sum(dim=1)[0, 0].topk(9).indices.tolist())
    shared = [
        len(best & set(kept(create("scope", num_token=9, alpha=alpha), evidence).kept[0].tolist()))
        for alpha in (0, 1, 30)
    ]
    assert shared[0] < shared[1] <= shared[2] == 9
    added = kept(create("scope", num_token=9, combined="add"), evidence)
    assert not torch.equal(added.kept, kept(create("scope", num_token=9), evidence).kept)


@METHODS
def test_patches_of_an_encoder_without_cls_are_ranked_by_what_they_receive(name: str) -> None:
    evidence = FakeEvidence.random((40,), has_cls=False, seed=5)
    chosen = kept(create(name, **{COUNT_OF[name]: 9}), evidence)
    torch.testing.assert_close(chosen.scores, evidence.image_rows.mean(dim=1).mean(dim=1))
