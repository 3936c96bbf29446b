"""Attention rows and scores against sums written out in Python."""

import math

import pytest
import torch

from llava.reduction.scoring import attention_rows, mean_received, summed_over_heads


def rows_by_hand(
    queries: torch.Tensor, keys: torch.Tensor, scale: float, allowed: torch.Tensor | None = None
) -> torch.Tensor:
    """The softmax of scaled dot products, one number at a time, in double precision."""
    images, heads, rows, _ = queries.shape
    share = heads // keys.shape[1]
    out = torch.zeros(images, heads, rows, keys.shape[2], dtype=torch.float64)
    for i in range(images):
        for h in range(heads):
            for r in range(rows):
                terms = []
                for t in range(keys.shape[2]):
                    dot = sum(a * b for a, b in zip(queries[i, h, r].tolist(), keys[i, h // share, t].tolist()))
                    seen = allowed is None or bool(allowed.expand(images, 1, rows, keys.shape[2])[i, 0, r, t])
                    terms.append(math.exp(dot * scale) if seen else 0.0)
                out[i, h, r] = torch.tensor(terms, dtype=torch.float64) / sum(terms)
    return out


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_rows_are_softmaxed_dot_products_with_grouped_keys(groups: int) -> None:
    torch.manual_seed(0)
    queries, keys = torch.randn(2, 4, 3, 6), torch.randn(2, groups, 5, 6)
    got = attention_rows(queries, keys, 6**-0.5)
    torch.testing.assert_close(got.double(), rows_by_hand(queries, keys, 6**-0.5), atol=1e-6, rtol=0)


def test_rows_see_only_what_is_allowed() -> None:
    torch.manual_seed(1)
    queries, keys = torch.randn(2, 2, 3, 4), torch.randn(2, 2, 5, 4)
    allowed = torch.ones(2, 1, 3, 5, dtype=torch.bool).tril(2)
    allowed[1, :, :, 0] = False
    got = attention_rows(queries, keys, 0.5, allowed)
    assert torch.equal(got[~allowed.expand_as(got)], torch.zeros(int((~allowed).sum()) * 2))
    torch.testing.assert_close(got.double(), rows_by_hand(queries, keys, 0.5, allowed), atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_scored_in_float32(dtype: torch.dtype) -> None:
    torch.manual_seed(2)
    queries, keys = (4 * torch.randn(1, 2, 3, 16)).to(dtype), (4 * torch.randn(1, 2, 7, 16)).to(dtype)
    got = attention_rows(queries, keys, 0.25)
    assert got.dtype == torch.float32
    assert torch.equal(got, attention_rows(queries.float(), keys.float(), 0.25))


def test_inputs_are_left_as_they_are() -> None:
    queries, keys = torch.randn(1, 1, 2, 4), torch.randn(1, 1, 3, 4)
    before = queries.clone(), keys.clone()
    attention_rows(queries, keys, 1.0, torch.tensor([[[[True, False, True]]]]))
    assert torch.equal(queries, before[0]) and torch.equal(keys, before[1])


def test_encoder_score_adds_up_heads() -> None:
    rows = torch.tensor([[[[0.1, 0.9]], [[0.3, 0.2]]]])
    assert torch.equal(summed_over_heads(rows), torch.tensor([[0.1, 0.9]]) + torch.tensor([[0.3, 0.2]]))


def test_received_attention_is_averaged_over_heads_and_the_rows_that_are_real() -> None:
    rows = torch.zeros(2, 2, 3, 3)
    rows[0] = torch.arange(18.0).view(2, 3, 3)
    rows[1, :, :2, :2] = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])
    got = mean_received(rows, torch.tensor([[3], [2]]))
    assert torch.equal(got, torch.tensor([[7.5, 8.5, 9.5], [4.0, 5.0, 0.0]]))
    assert torch.equal(mean_received(rows[:1]), got[:1])
