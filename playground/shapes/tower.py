"""The tower, trained as CLIP is, with a teacher that reads off its patches what they show."""

import torch
from torch import nn
from transformers import CLIPConfig, CLIPModel

from playground.shapes.data import CAPTION_END, PATCH
from playground.shapes.scene import COLORS, PLACES, SHAPES, SIDE, SIZES

# The features LLaVA takes: those of the layer before the last.
SELECT_LAYER = -2
# Most patches show nothing; without this they would drown the others.
WEIGHT_OF_NOTHING = 0.2
# About the size of what the patches' pixels give at the start.
_POSITION_SCALE = 0.3
_CHOICES = (1 + len(COLORS), 1 + len(SHAPES), 1 + len(SIZES), 2, len(PLACES))


class TowerWithTeacher(nn.Module):
    """CLIP, and a linear layer that reads off each patch's features what the patch shows.

    A tower from nothing is CLIP's matter and not LLaVA's, so llava.train has no place for it.

    The contrastive loss is CLIP's, on [CLS] and captions. The second loss is not: it makes the features that LLaVA
    takes (of the layer before the last) say what is where, which contrast alone teaches after far more pictures.
    """

    def __init__(self, width: int = 192, layers: int = 6) -> None:
        super().__init__()
        heads = max(1, width // 64)
        shared = {"hidden_size": width, "intermediate_size": 4 * width, "num_attention_heads": heads}
        text = shared | {
            "num_hidden_layers": 2,
            "vocab_size": CAPTION_END + 1,
            "max_position_embeddings": 128,
            "bos_token_id": 1,
            "eos_token_id": CAPTION_END,
            "pad_token_id": 0,
        }
        vision = shared | {"num_hidden_layers": layers, "image_size": SIDE, "patch_size": PATCH}
        config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=width)
        self.clip = CLIPModel(config)
        with torch.no_grad():
            positions = self.clip.vision_model.embeddings.position_embedding.weight
            positions[1:] = _POSITION_SCALE * waves(SIDE // PATCH, width)
            # Only the first half: [CLS] is like itself alone, and has to gather from all patches in the second.
            for layer in self.clip.vision_model.encoder.layers[: layers // 2]:
                look_at_the_like(layer.self_attn, width)
        self.teacher = nn.Linear(width, sum(_CHOICES))

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, images: torch.Tensor, patches: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """The loss, its two parts, and the teacher's verdicts (B, 256, 30).

        Args:
            patches: (B, 256, 5) int64, see `patch_targets`.
        """
        outputs = self.clip(
            input_ids=input_ids,
            attention_mask=attention_mask,
            pixel_values=images,
            return_loss=True,
            output_hidden_states=True,
        )
        features = outputs.vision_model_output.hidden_states[SELECT_LAYER][:, 1:]
        verdicts = self.teacher(features)
        seen = teacher_loss(verdicts, patches)
        return {"loss": outputs.loss + seen, "contrast": outputs.loss, "seen": seen, "verdicts": verdicts}

    def split(self, outputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """The verdicts on color, shape, size, centre and place, (B, 256, choices) each."""
        return outputs["verdicts"].split(_CHOICES, dim=-1)


def teacher_loss(verdicts: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
    """The sum of five cross entropies: (B, 256, 30) verdicts against (B, 256, 5) truths."""
    parts = [
        nn.functional.cross_entropy(
            verdict.flatten(0, 1).float(), patches[..., number].flatten(), weight=_weights(verdict, number)
        )
        for number, verdict in enumerate(verdicts.split(_CHOICES, dim=-1))
    ]
    return torch.stack(parts).sum()


def waves(side: int, width: int) -> torch.Tensor:
    """(side * side, width) float32: sines and cosines of each patch's row and column, `width` divisible by 4.

    Position embeddings begin as these (as in plain ViTs of MAE and later) and are learned from there: neighbours are
    alike from the first step, so shapes, which lie across patches, are learned several times faster.
    """
    frequencies = 1 / 100 ** (torch.arange(width // 4) / (width // 4))
    angles = torch.arange(side)[:, None] * frequencies
    line = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows, columns = line[:, None].expand(side, side, -1), line[None].expand(side, side, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)


def look_at_the_like(attention: nn.Module, width: int) -> None:
    """Queries equal keys, large enough to matter: a patch begins by looking at those near it and those alike.

    The first half of `begin_by_likeness`. After 100 steps 56 % of the shapes are read off the patches, else 38 %.
    """
    attention.q_proj.weight.normal_(std=width**-0.5)
    attention.k_proj.weight.copy_(attention.q_proj.weight)


def _weights(verdict: torch.Tensor, number: int) -> torch.Tensor:
    weights = torch.ones(verdict.shape[-1], device=verdict.device)
    if number < len(_CHOICES) - 1:
        weights[0] = WEIGHT_OF_NOTHING
    return weights
