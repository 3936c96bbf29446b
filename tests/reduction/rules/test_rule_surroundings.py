"""Rules compute in float32 under autocast, leave gradients to what is merged, and ask nothing of the device."""

from collections.abc import Callable

import pytest
import torch
from rule_images import draw
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

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
    trim,
    vispruner,
    vscan,
)

N, T = 64, 20
TOKENS = draw((N, N), seed=1).tokens
OTHERS = draw((N, N), seed=2).tokens
SCORES = draw((N, N), seed=3).scores
VALID = torch.ones(2, N, dtype=torch.bool)
Rule = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]

# Of tokens, other tokens, scores and valid; every rule that only chooses.
CHOOSING: dict[str, Rule] = {
    "scope": lambda x, y, s, v: coverage.scope_order(x, s, (T, T), v),
    "mmtok": lambda x, y, s, v: coverage.mmtok_order(y[:, :5], x, y, (T, T), v, v[:, :5]),
    "vispruner": lambda x, y, s, v: vispruner.important_and_diverse(x, s, (10, 10), (10, 10), (N, N)),
    "divprune": lambda x, y, s, v: divprune.farthest_first(x, (T, T), v),
    "cdpruner": lambda x, y, s, v: cdpruner.dpp_order(
        x, cdpruner.question_relevance(y, x[:, :2], v, v[:, :2]), (T, T), v
    ),
    "holov": lambda x, y, s, v: holov.holov_order(x, s, (T, T), (N, N)),
    "hiprune": lambda x, y, s, v: hiprune.hiprune_kept(s, s.flip(1), T, 8, 0.5)[0],
    "vscan": lambda x, y, s, v: vscan.vscan_kept(s, s.flip(1), 40, 8),
    "tome": lambda x, y, s, v: tome.match_pairs(x, 9).into,
    "dart": lambda x, y, s, v: dart.dart_kept(x, y[:, :9], s, s[:, :9], (N, N), (9, 9), 2)[0],
    "raters": lambda x, y, s, v: sparsevlm.raters(x / 8, y[:, :9] / 8, v, v[:, :9]),
    "density peaks": lambda x, y, s, v: sparsevlm.density_peaks(x, (N, N), (5, 5))[0],
    "prunesid": lambda x, y, s, v: prunesid.prunesid_order(x, s, prunesid.component_groups(x, 10), 40),
    "prumerge scores": lambda x, y, s, v: prumerge.prumerge_scores(x[:, 0], y),
    "trim scores": lambda x, y, s, v: trim.trim_scores(x / 8, y[:, 0] / 8),
}


@pytest.mark.parametrize("name", CHOOSING)
def test_autocast_and_gradients_change_nothing(name: str) -> None:
    plain = CHOOSING[name](TOKENS, OTHERS, SCORES, VALID)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = CHOOSING[name](TOKENS.clone().requires_grad_(), OTHERS, SCORES.clone().requires_grad_(), VALID)
    assert torch.equal(plain, inside) and not inside.requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", CHOOSING)
def test_half_precision_is_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    tokens, others = TOKENS.to(dtype), OTHERS.to(dtype)
    assert torch.equal(
        CHOOSING[name](tokens, others, SCORES, VALID), CHOOSING[name](tokens.float(), others.float(), SCORES, VALID)
    )


@pytest.mark.parametrize("name", CHOOSING)
def test_nothing_is_read_from_the_device(name: str) -> None:
    """Fake tensors have no values: whoever asks for one gets an error."""
    with FakeTensorMode() as mode:
        fake = [mode.from_tensor(real) for real in (TOKENS, OTHERS, SCORES, VALID)]
        CHOOSING[name](*fake)
        with pytest.raises(DataDependentOutputException):
            fake[2].max().item()


def test_gradients_flow_through_what_is_merged() -> None:
    kept = torch.arange(0, N, 4).expand(2, -1)
    counts = (kept.shape[1],) * 2
    makers: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "vscan": lambda x: vscan.merge_into_kept(x, kept, counts, VALID)[0],
        "prumerge": lambda x: prumerge.merge_neighbours(x, SCORES, OTHERS, kept, counts),
        "tome": lambda x: tome.merge_pairs(x, torch.ones(2, N), tome.match_pairs(OTHERS, 9))[0],
        "trim": lambda x: trim.mean_of_others(x, kept),
        "sparsevlm": lambda x: sparsevlm.cluster_means(x, sparsevlm.density_peaks(OTHERS, (N, N), (5, 5))[0], 5),
    }
    for name, make in makers.items():
        tokens = TOKENS.clone().requires_grad_()
        plain = make(tokens)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = make(tokens)
        assert torch.equal(plain, inside), name
        inside.sum().backward()
        assert tokens.grad is not None and bool(tokens.grad.any()), name
        for dtype in (torch.float16, torch.bfloat16):
            assert make(TOKENS.to(dtype)).dtype == dtype, name
