"""LLaVA on MPT: LLaVA-7B-MPT. Its layers have no positions, so nothing is dropped between them: encoder stage only.

Distances are counted in tokens (ALiBi). Dropping some inside the LLM would move all that are before them closer, which
no published method means; `llava.reduction.Geometry.stages` says so to every method.
"""

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, MptForCausalLM, MptModel
from transformers.utils.output_capturing import OutputRecorder

from llava.model.language_model.alibi import AlibiAttention, AlibiBlock, alibi_masks
from llava.model.language_model.llava_causal_lm import LlavaCausalLM
from llava.model.language_model.llava_config import LlavaMptConfig
from llava.model.language_model.staged_decoder import StagedDecoder
from llava.model.llava_arch import LlavaMetaModel

__all__ = ["LlavaMptConfig", "LlavaMptForCausalLM", "LlavaMptModel"]


class LlavaMptModel(LlavaMetaModel, StagedDecoder, MptModel):
    """MPT's decoder with eyes. Tensors keep MPT's names; `embed_tokens`, `layers` and `norm` are what others know."""

    config_class = LlavaMptConfig
    layer_masks = staticmethod(alibi_masks)
    _no_split_modules = ["AlibiBlock"]
    _supports_sdpa = True  # what the loader asks for; attention is computed as the host does, whatever is asked
    _can_record_outputs = {"hidden_states": AlibiBlock, "attentions": OutputRecorder(AlibiAttention, index=1)}

    def __init__(self, config: LlavaMptConfig) -> None:
        super().__init__(config)
        self.blocks = nn.ModuleList([AlibiBlock(config, layer_idx=number) for number in range(config.n_layers)])

    @property
    def embed_tokens(self) -> nn.Module:
        """The table of token embeddings, MPT's `wte`."""
        return self.wte

    @property
    def layers(self) -> nn.ModuleList:
        """MPT's `blocks`."""
        return self.blocks

    @property
    def norm(self) -> nn.Module:
        """MPT's `norm_f`."""
        return self.norm_f

    def rotary_emb(self, hidden: torch.Tensor, position_ids: torch.Tensor) -> None:
        """Nothing: distances are in the masks."""


class LlavaMptForCausalLM(LlavaCausalLM, MptForCausalLM):
    """LLaVA on MPT; see `generate`."""

    config_class = LlavaMptConfig
    host_class, decoder_class = MptForCausalLM, LlavaMptModel
    _no_split_modules = ["AlibiBlock"]
    _supports_sdpa = True


AutoConfig.register("llava_mpt", LlavaMptConfig, exist_ok=True)
AutoModelForCausalLM.register(LlavaMptConfig, LlavaMptForCausalLM, exist_ok=True)
