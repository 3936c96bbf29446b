"""Every rule against the official functions: indices equal, order where it is part of the rule, values near."""

import json

import pytest
import torch
from conftest import PARITY
from safetensors.torch import load_file

from llava.reduction.rules import (
    cdpruner,
    coverage,
    dart,
    divprune,
    hiprune,
    holov,
    prumerge,
    prunesid,
    sparsevlm,
    tome,
    vispruner,
    vscan,
)
from llava.reduction.rules.basics import ascending, ranked

FOLDER = PARITY / "selection"
INDEX = json.loads((FOLDER / "index.json").read_text())
NEAR = {"atol": 1e-4, "rtol": 0.0}
N = 576
Case = tuple[dict, dict[str, torch.Tensor]]
BOTH = pytest.mark.parametrize("published", [True, False])


def read(name: str) -> Case:
    """Settings and tensors of a recorded case."""
    return INDEX[name]["settings"], load_file(FOLDER / f"{name}.safetensors")


def all_valid(tokens: torch.Tensor) -> torch.Tensor:
    return torch.ones(tokens.shape[:2], dtype=torch.bool)


def kept_in(mask: torch.Tensor) -> list[list[int]]:
    """The indices of each row of a mask."""
    return [row.nonzero().flatten().tolist() for row in mask]


def names(start: str) -> pytest.MarkDecorator:
    found = [name for name in INDEX if name.startswith(start)]
    assert found
    return pytest.mark.parametrize("name", found)


def test_every_recorded_case_has_a_test_here() -> None:
    asked = (
        "fastervlm vispruner scope divprune holov hiprune prumerge cdpruner dart sparsevlm vscan tome prunesid mmtok"
    )
    assert len(INDEX) == 23 and {name.split("_")[0] for name in INDEX} == set(asked.split())
    assert {path.stem for path in FOLDER.glob("*.safetensors")} == set(INDEX)


@names("fastervlm")
def test_fastervlm(name: str) -> None:
    settings, given = read(name)
    best = ranked(given["cls_attention"].mean(dim=1))[:, : settings["T"]]
    assert ascending(best).tolist() == kept_in(given["mask"])


@names("vispruner")
def test_vispruner(name: str) -> None:
    settings, given = read(name)
    first = int(settings["T"] * settings["ratio"])
    counts = (first,) * 2, (settings["T"] - first,) * 2
    scores = given["cls_attention"].mean(dim=1)
    for published in (True, False):
        kept = vispruner.important_and_diverse(given["features"], scores, *counts, (N, N), published)
        if published or name != "vispruner_64":
            assert kept.tolist() == kept_in(given["mask"])
        else:  # two equal scores in the first row
            assert kept[1].tolist() == kept_in(given["mask"])[1]


@names("scope")
def test_scope(name: str) -> None:
    settings, given = read(name)
    counts = (settings["T"],) * 2
    order = coverage.scope_order(
        given["features"], given["cls_attention_sum"], counts, all_valid(given["features"]), settings["alpha"]
    )
    assert torch.equal(order, given["indices_in_choice_order"].long())


@names("mmtok")
def test_mmtok(name: str) -> None:
    settings, given = read(name)
    words, projected, features = (given[key][None] for key in ("text", "projected", "clip"))
    order = coverage.mmtok_order(
        words,
        projected,
        features,
        (settings["T"],),
        all_valid(projected),
        all_valid(words),
        settings["alpha"],
        settings["tv_temp"],
        settings["vv_temp"],
    )
    assert torch.equal(ascending(order)[0], given["indices"].long())


@BOTH
@names("divprune")
def test_divprune(name: str, published: bool) -> None:
    settings, given = read(name)
    tokens = given["projected"][None]
    counts = (divprune.kept_of_share(settings["ratio"], N),)
    order = divprune.farthest_first(tokens, counts, all_valid(tokens), published)
    assert torch.equal(order[0], given["indices_in_choice_order"].long())


@BOTH
@names("cdpruner")
def test_cdpruner(name: str, published: bool) -> None:
    settings, given = read(name)
    image, text = given["image_embeds"], given["text_embeds"][None]
    groups = (len(image),) if published else None
    relevance = cdpruner.question_relevance(image, text, all_valid(image), all_valid(text), groups)
    order = cdpruner.dpp_order(given["projected"], relevance, (settings["T"],), all_valid(image), published)
    assert ascending(order).tolist() == kept_in(given["mask"])


@BOTH
@names("holov")
def test_holov(name: str, published: bool) -> None:
    settings, given = read(name)
    assert settings["n_zero"] == 0
    counts, wanted = (settings["T"],) * 2, given["indices_in_output_order"].long()
    order = holov.holov_order(
        given["projected"], given["mean_cls_attention"], counts, (N, N), settings["chunks"], published=published
    )
    assert torch.equal(order, wanted if published else ascending(wanted))


@names("hiprune")
def test_hiprune(name: str) -> None:
    settings, given = read(name)
    kept, _ = hiprune.hiprune_kept(given["layer8_received"], given["layer22_received"], settings["T"], side=24)
    assert kept.tolist() == kept_in(given["mask"])


@BOTH
@names("vscan")
def test_vscan(name: str, published: bool) -> None:
    settings, given = read(name)
    kept = vscan.vscan_kept(given["layer5_cls"], given["layer22_cls"], settings["T"], 24, published)
    assert kept.tolist() == kept_in(given["mask"])
    merged, _ = vscan.merge_into_kept(given["projected"], kept, (kept.shape[1],) * 2, all_valid(given["projected"]))
    torch.testing.assert_close(merged, given["merged"], **NEAR)


@BOTH
@names("prumerge")
def test_prumerge(name: str, published: bool) -> None:
    _, given = read(name)
    scores = prumerge.prumerge_scores(given["q"][:, 0], given["k"])
    order, counts = prumerge.prumerge_order(scores, plus="plus" in name, published=published)
    merged = prumerge.merge_neighbours(given["features"], scores, given["k"][:, 1:], order, counts)
    torch.testing.assert_close(merged, given["output"], **NEAR)


@names("tome")
def test_tome(name: str) -> None:
    settings, given = read(name)
    metric = given["metric"]
    merged, sizes = tome.merge_pairs(metric, torch.ones(metric.shape[:2]), tome.match_pairs(metric, settings["r"]))
    torch.testing.assert_close(merged, given["merged_mean_of_metric"], **NEAR)
    assert sizes.sum() == metric.shape[1]


@names("dart")
def test_dart(name: str) -> None:
    settings, given = read(name)
    start, hidden, norms = settings["start"], given["normed_hidden"], given["keys"].abs().sum(dim=(1, 3))
    end = start + settings["n"]
    kept, counts = dart.dart_kept(
        hidden[:, start:end],
        hidden[:, end:],
        norms[:, start:end],
        norms[:, end:],
        (settings["n"],),
        (hidden.shape[1] - end,),
        dart.taken_per_pivot(settings["budget"]),
        starts=(start,),
    )
    assert torch.equal(kept[0] + start, given["kept"].long()) and counts == (len(given["kept"]),)


@names("sparsevlm")
def test_sparsevlm(name: str) -> None:
    settings, given = read(name)
    tokens, clusters = given["tokens"], settings["clusters"]
    assignment, _ = sparsevlm.density_peaks(tokens, (tokens.shape[1],), (clusters,))
    torch.testing.assert_close(sparsevlm.cluster_means(tokens, assignment, clusters), given["merged"], **NEAR)


@names("prunesid")
def test_prunesid(name: str) -> None:
    settings, given = read(name)
    hidden, count = given["hidden"][:, 1:], settings["T"]
    groups = prunesid.component_groups(hidden, count // 4, seed=int(name[-1]))
    order = prunesid.prunesid_order(hidden, given["cls_attention"].sum(dim=1), groups, count)
    wanted = given["indices_with_cls_in_output_order"].long()
    assert torch.equal(order + 1, wanted[:, 1:]) and wanted[:, 0].tolist() == [0]
