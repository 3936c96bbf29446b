"""What a decoder layer is asked for, against loops: grouped queries, windows, padding."""

import math
from typing import Any

import pytest
import torch
from language_models import family_model
from transformers.models.llama.modeling_llama import rotate_half

from llava.model.evidence.llama import LlamaEvidence
from llava.model.layout import Layout, Span

LENGTHS = (13, 9)  # real tokens of two rows, padded on the left to 13
SPANS = ((0, 2, 6), (1, 1, 5))  # row, start, length


def by_hand(layer: Any, hidden: torch.Tensor, rotary: Any, row: int, window: int | None) -> tuple[torch.Tensor, Any]:
    """Attention (H, T, T) and rotated keys (G, T, d) of a row's real tokens (T, D), one query and key at a time."""
    attention, config = layer.self_attn, layer.self_attn.config
    heads, groups, width = config.num_attention_heads, config.num_key_value_heads, attention.head_dim
    first = 13 - LENGTHS[row]
    states = layer.input_layernorm(hidden[row, first:])
    cos, sin = (table[0, : len(states)] for table in rotary)

    def turned(projection: Any, head: int) -> torch.Tensor:
        own = projection(states)[:, head * width : (head + 1) * width]
        return own * cos + rotate_half(own) * sin

    keys = torch.stack([turned(attention.k_proj, group) for group in range(groups)])
    weights = torch.zeros(heads, len(states), len(states))
    for head in range(heads):
        queries, own = turned(attention.q_proj, head), keys[head // (heads // groups)]
        for at, query in enumerate(queries):
            begin = 0 if window is None else max(0, at - window + 1)
            scores = torch.stack([query @ key / math.sqrt(width) for key in own[begin : at + 1]])
            weights[head, at, begin : at + 1] = scores.softmax(0)
    return weights, keys


@torch.no_grad()
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("family", "window"), [("llama", None), ("mistral-window", 7), ("qwen-window", 9)])
def test_rows_and_keys_are_those_of_the_layer(family: str, window: int | None, groups: int) -> None:
    changed = {"num_key_value_heads": groups}
    model = family_model(family, **changed)
    layer = model.get_model().layers[8]  # one that has a window, if any has
    hidden = torch.randn(2, 13, 32, generator=torch.Generator().manual_seed(3))
    layout = Layout(LENGTHS, tuple(Span(row, start, length, length) for row, start, length in SPANS))
    places = (torch.arange(13)[None] - layout.padding(hidden.device)).clamp(min=0)
    rotary = model.get_model().rotary_emb(hidden, position_ids=places)
    seen = LlamaEvidence(layer, hidden, layout, rotary)
    table = model.get_model().rotary_emb(hidden, position_ids=torch.arange(13)[None])
    for row, start, length in SPANS:
        weights, keys = by_hand(layer, hidden, table, row, window)
        image = slice(start, start + length)
        within, last = seen.attention_from_image()[row, :, :length, :length], seen.attention_from_last()[row]
        torch.testing.assert_close(within, weights[:, image, image], atol=1e-6, rtol=0)
        torch.testing.assert_close(last[:, 0, :length], weights[:, -1, image], atol=1e-6, rtol=0)
        torch.testing.assert_close(seen.keys()[row, :length], keys[:, image].mean(0), atol=1e-6, rtol=0)


def test_a_window_hides_an_image_from_the_last_token() -> None:
    model = family_model("mistral-window")
    layout = Layout((13,), (Span(0, 0, 5, 5),))
    hidden = torch.randn(1, 13, 32, generator=torch.Generator().manual_seed(3))
    rotary = model.get_model().rotary_emb(hidden, position_ids=torch.arange(13)[None])
    assert not LlamaEvidence(model.get_model().layers[0], hidden, layout, rotary).attention_from_last().any()
