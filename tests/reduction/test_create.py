"""Methods by their names and settings, and what a few of them do at the edges of these."""

import pytest
import torch
from fakes import FakeEvidence

from llava.errors import InputError
from llava.reduction import create


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
    with pytest.raises(InputError, match="'fastvv': expected one of cdpruner, dart, "):
        create("fastvv")


def test_settings_of_another_method_are_refused() -> None:
    with pytest.raises(InputError, match="'visionzip' has no setting 'layer_list': expected one of dominant, contextu"):
        create("visionzip", dominant=2, contextual=1, layer_list=[3])
    with pytest.raises(InputError, match="'none' has no setting 'dominant': expected none"):
        create("none", dominant=2)
    with pytest.raises(InputError, match="'visiondrop' needs layer_list, image_token_list; give them"):
        create("visiondrop", dominant=2, contextual=1)
