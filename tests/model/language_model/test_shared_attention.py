"""The kernel `shared_prefix`: attention over a prefix and over a row's own tokens is attention over both."""

import pytest
import torch

from llava.model.language_model import shared_attention


@pytest.mark.parametrize("at_once", [1, 2**24])
def test_queries_may_come_in_parts(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three tokens to a row, two query heads to a key head, own tokens of which some are padding, one row all of it."""
    monkeypatch.setattr(shared_attention, "SCORES_AT_ONCE", at_once)
    draw = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(4, heads, 3, 16, generator=draw) for heads in (6, 3, 3))
    prefix = torch.randn(3, 40, 16, generator=draw), torch.randn(3, 40, 16, generator=draw)
    mask = torch.ones(3, 3, dtype=torch.bool).tril().expand(4, 1, 3, 3).clone()
    mask[1, ..., :2], mask[2] = False, False
    got = shared_attention.attend_both(query / 4, prefix, (key, value), mask)
    whole = [torch.cat([part.expand(4, -1, -1, -1), own], dim=2) for part, own in zip(prefix, (key, value))]
    seen = torch.cat([torch.ones(4, 1, 3, 40, dtype=torch.bool), mask], dim=3)
    wanted = torch.nn.functional.scaled_dot_product_attention(query, *whole, attn_mask=seen, enable_gqa=True)
    torch.testing.assert_close(got, wanted, atol=1e-6, rtol=1e-5)
