"""Single-turn questions, packed: each is asked alone, while all questions of a picture share its tokens.

In a conversation an earlier question and its answer often tell what a later one asks: a little can be read instead of
seen, and only the first question of each picture looks as the benchmark's do.

Trained by llava.train's trainer as the other LLaVA stages. What is special is the forward pass: a mask under which the
prompts of a picture share its tokens. LLaVA's training takes them one by one, and would compute twelve pictures where
this computes one.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import LlamaModel

from llava.constants import IGNORE_INDEX
from llava.model import LlavaLlamaForCausalLM
from llava.model.fusion import fuse_labels
from llava.model.tokenizer import LlamaTokenizer
from llava.train.data.dataset import DataCollatorForSupervisedDataset
from playground.shapes.data import Sample
from playground.shapes.questions import ask
from playground.shapes.scene import Scene
from playground.shapes.text import conversation, encode

# The number of a question that padding belongs to.
OTHER = -1


def asked_alone(scene: Scene, source: np.random.RandomState, tokenizer: LlamaTokenizer) -> Sample:
    """Two questions of each kind: once what all prompts begin with, up to the picture, then the rest of each prompt.

    Returns:
        `input_ids` and `labels`, (L,) int64; `asked`, (L,) int64: 0 for what all share, n for the nth question.
    """
    prompts = [encode(conversation([question]), tokenizer) for question in ask(scene, source, per_kind=2)]
    rest = 1 + int((prompts[0]["input_ids"] < 0).nonzero()[0])
    shared = {name: part[:rest] for name, part in prompts[0].items()} | {"asked": torch.zeros(rest, dtype=torch.long)}
    own = [
        {name: part[rest:] for name, part in prompt.items()}
        | {"asked": torch.full_like(prompt["labels"][rest:], number)}
        for number, prompt in enumerate(prompts, start=1)
    ]
    return {name: torch.cat([shared[name], *(part[name] for part in own)]) for name in shared}


class AskedCollator(DataCollatorForSupervisedDataset):
    """llava.train's collator, with `asked` (B, L) int64 beside the ids."""

    def __call__(self, instances: list[Mapping[str, Any]]) -> dict[str, Any]:
        """A batch."""
        asked = [item["asked"] for item in instances]
        padded = torch.nn.utils.rnn.pad_sequence(asked, batch_first=True, padding_value=OTHER)
        return super().__call__(instances) | {"asked": padded}


def visible(asked: torch.Tensor) -> torch.Tensor:
    """What each token looks at: earlier ones, of those only the shared and its own question's.

    Args:
        asked: (B, T) int64, 0 for what all share; padding is a question of its own.

    Returns:
        (B, T, T) bool.
    """
    column = torch.arange(asked.shape[1], device=asked.device)
    own = (asked[:, None] == 0) | (asked[:, None] == asked[:, :, None])
    return own & (column <= column[:, None])


class AskedAlone(nn.Module):
    """LLaVA on prompts that share their beginning; tokens have the positions they would have in a prompt alone.

    The host's forward takes the mask, for the decoder loop of this project makes its own.
    """

    def __init__(self, llava: LlavaLlamaForCausalLM) -> None:
        super().__init__()
        self.llava = llava

    def forward(
        self, input_ids: torch.Tensor, labels: torch.Tensor, asked: torch.Tensor, images: torch.Tensor, **_: object
    ) -> dict[str, torch.Tensor]:
        """The loss over labels other than -100, and `logits` (n, V) where a label comes next.

        Args:
            input_ids, labels, asked: (B, L) int64, see `asked_alone`.
        """
        embeds, plan = self.llava.prepare_inputs(input_ids, images=images)
        # The picture's tokens get no label; they are what all share.
        shared = fuse_labels(asked, plan)
        looks = visible(shared.where(shared != IGNORE_INDEX, 0))
        hidden = LlamaModel.forward(
            self.llava.get_model(),
            inputs_embeds=embeds,
            # Added up, and not as bool, it is a fifth faster on a CPU.
            attention_mask=torch.zeros(looks.shape, dtype=_type_of_attention(embeds), device=embeds.device)
            .masked_fill_(~looks, float("-inf"))
            .unsqueeze(1),
            position_ids=looks.sum(dim=-1) - 1,
            use_cache=False,
        ).last_hidden_state
        following = fuse_labels(labels, plan)[:, 1:]
        told = following != IGNORE_INDEX
        logits = self.llava.lm_head(hidden[:, :-1][told])
        return {"loss": nn.functional.cross_entropy(logits.float(), following[told]), "logits": logits}


def _type_of_attention(embeds: torch.Tensor) -> torch.dtype:
    device = embeds.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else embeds.dtype
