"""ALiBi: attention that falls with distance instead of positions, as MPT has it.

A head's scores fall by a slope of its own with each token between two others. Softmax does not see what is the same for
a whole row, so the bias of a key is its slope times its place, whichever query asks. Places count real tokens: padding
takes none, wherever it is, so that a row of a batch is the row alone.
"""

from typing import Any

import torch
from torch import nn
from transformers.cache_utils import Cache
from transformers.models.mpt.modeling_mpt import MptAttention, MptBlock, build_mpt_alibi_tensor

from llava.model.language_model.masks import Mask, visible


def alibi_masks(
    config: Any,
    hidden: torch.Tensor,
    filler: torch.Tensor | None,
    cache: Cache | None,
    given: torch.Tensor | None,
    bounds: tuple[int, int],
) -> list[Mask]:
    """As `layer_masks` of `masks`, for each layer (B or 1, H, n, T) float32: what to add to scores."""
    count = hidden.shape[1]
    if filler is None:
        width = count + (cache.get_seq_length() if cache is not None else 0)
        filler = torch.zeros(1, width, dtype=torch.bool, device=hidden.device)
    # The slopes, as the host makes them: one column to the left of the last.
    slopes = -build_mpt_alibi_tensor(config.n_heads, 2, config.attn_config.alibi_bias_max, device=hidden.device)[..., 0]
    place = (~filler).cumsum(dim=1)
    bias = slopes[:, :, None] * (place - place[:, -1:])[:, None, None]
    mask = bias.masked_fill(~visible(filler, count), torch.finfo(hidden.dtype).min)
    return [mask] * (bounds[1] - bounds[0])


class AlibiAttention(MptAttention):
    """MPT's attention with a bias for every row: the host's takes one for all, in which padding counts."""

    def forward(
        self, hidden_states: torch.Tensor, mask: torch.Tensor, past_key_values: Cache | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states (B, n, D) and a mask (B or 1, H, n, T) -> (B, n, D), and the weights (B, H, n, T).

        Scores and softmax are float32 whatever the weights are, as the host's are with its bias.
        """
        states = self.Wqkv(hidden_states)
        if self.clip_qkv:
            states = states.clamp(min=-self.clip_qkv, max=self.clip_qkv)
        queries, keys, values = (
            part.unflatten(-1, (self.n_heads, self.head_dim)).transpose(1, 2) for part in states.chunk(3, dim=2)
        )
        if past_key_values is not None:
            keys, values = past_key_values.update(keys, values, self.layer_idx)
        scores = queries @ keys.transpose(-1, -2) * self.softmax_scale + mask
        weights = nn.functional.softmax(scores.float(), dim=-1).to(values.dtype)
        dropped = nn.functional.dropout(weights, p=self.attn_dropout_p, training=self.training)
        return self.out_proj((dropped @ values).transpose(1, 2).flatten(2)), weights


class AlibiBlock(MptBlock):
    """MPT's layer, called as `StagedDecoder` calls a layer."""

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.attn = AlibiAttention(config, layer_idx)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor,
        past_key_values: Cache | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Hidden states (B, n, D) through attention and MLP."""
        attended, _ = self.attn(self.norm_1(hidden_states), attention_mask, past_key_values)
        hidden_states = self.resid_attn_dropout(attended) + hidden_states
        return self.ffn(self.norm_2(hidden_states), hidden_states)
