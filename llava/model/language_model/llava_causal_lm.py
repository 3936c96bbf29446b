"""What every LLaVA is, whatever language model it stands on: the common type, and how one is put together."""

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from llava.model.devices import device_of
from llava.model.generation.generate import LlavaGeneration
from llava.model.generation.sharing import LlavaSharing
from llava.model.llava_arch import LlavaMetaForCausalLM
from llava.model.loading.pretrained import FromCheckpoint
from llava.reduction import method_class

if TYPE_CHECKING:  # what it is mixed in before
    from transformers import PreTrainedModel as Host
else:
    Host = object


class LlavaCausalLM(FromCheckpoint, LlavaSharing, LlavaGeneration, LlavaMetaForCausalLM, Host):
    """Mixed in before transformers' causal LM of a family. Weights are named as in the published checkpoints.

    A family says `config_class`, and:

    Attributes:
        host_class: transformers' causal LM, which comes after this class.
        decoder_class: its decoder with eyes, a `StagedDecoder`.
    """

    host_class: ClassVar[type[nn.Module]]
    decoder_class: ClassVar[type[nn.Module]]

    def __init__(self, config: Any) -> None:
        super(self.host_class, self).__init__(config)  # not the host's own, which would build a decoder without eyes
        setattr(self, self.base_model_prefix, self.decoder_class(config))
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self._reduction = method_class("none")()
        self.post_init()

    def get_model(self) -> Any:
        """The decoder (LLaVA's accessor)."""
        return getattr(self, self.base_model_prefix)

    @property
    def device(self) -> torch.device:
        """Where token ids belong, also when their embeddings are kept elsewhere between calls."""
        return device_of(self.get_input_embeddings())
