"""What VisionDrop's ablations change: who ranks, stages left out, no contextual tokens."""

import pytest
import torch
from fake_layers import FakeLayer
from fakes import FakeEvidence

from llava.errors import InputError
from llava.reduction import Geometry, Reduction, create
from llava.reduction.scoring import mean_received
from llava.reduction.selection import select_top
from llava.reduction.stages import image_scores

SCHEDULE = {"layer_list": [2, 4], "image_token_list": [[9, 3], [4, 2]]}
LENGTHS = (40, 25)


def _kept(method: Reduction, stage: int = 0) -> tuple[torch.Tensor, FakeEvidence, tuple[int, ...]]:
    evidence = FakeLayer.layer(LENGTHS, seed=3)
    chosen = method.at_layer(stage, evidence)
    return chosen.kept, evidence, chosen.kept_counts


@pytest.mark.parametrize("name", ["visiondrop", "pyramiddrop"])
@pytest.mark.parametrize("ranking", ["visual", "text"])
def test_ranking_is_by_image_tokens_or_by_the_last_prompt_token(name: str, ranking: str) -> None:
    ratios = {"layer_list": [2, 4], "image_token_ratio_list": [0.3, 0.1]}
    settings = {"dominant": 20, "contextual": 4} | SCHEDULE if name == "visiondrop" else ratios
    method = create(name, **settings, ranking=ranking)
    kept, evidence, counts = _kept(method)
    by_text = mean_received(evidence.attention_from_last())
    scores = (by_text if ranking == "text" else image_scores(evidence)).masked_fill(~evidence.valid, -torch.inf)
    assert torch.equal(kept, select_top(scores, counts))
    assert method.reads_question is (ranking == "text")
    assert create(name, **settings).reads_question is (name == "pyramiddrop")


def test_unknown_ranking_is_refused() -> None:
    with pytest.raises(InputError, match="ranking must be visual or text: got 'both'"):
        create("pyramiddrop", ranking="both")


def test_without_contextual_tokens_the_others_are_dropped() -> None:
    bare = create("visiondrop", dominant=20, contextual=0, layer_list=[2], image_token_list=[[9, 0]])
    chosen = bare.at_layer(0, FakeLayer.layer(LENGTHS, seed=3))
    # The second image is smaller: its counts are those of its share of the largest.
    assert chosen.merged is None and chosen.counts == chosen.kept_counts
    assert bare.tokens_per_stage(Geometry(4, 64)) == [20, 9]
    assert create("visionzip", dominant=9, contextual=0).tokens_per_stage(Geometry(4, 64)) == [9]


def test_stages_can_be_left_out() -> None:
    inside = create("visiondrop", dominant=0, contextual=0, **SCHEDULE)
    assert inside.tokens_per_stage(Geometry(6, 64)) == [64, 12, 6]
    assert inside.at_encoder(FakeEvidence.random(lengths=(64,), has_cls=True)) is None
    encoder = create("visiondrop", dominant=20, contextual=4, layer_list=[], image_token_list=[])
    assert encoder.tokens_per_stage(Geometry(6, 64)) == [24] and encoder.layers == []


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"dominant": 0, "contextual": 4}, "dominant must be a whole number of at least 1: got 0"),
        ({"dominant": 8, "contextual": -1}, "contextual must be a whole number of at least 0: got -1"),
        ({"dominant": 8, "contextual": False}, "contextual must be a whole number of at least 0: got False"),
    ],
)
def test_counts_that_make_no_sense_are_refused(settings: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        create("visiondrop", **settings, **SCHEDULE)
