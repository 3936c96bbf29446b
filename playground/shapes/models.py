"""The two models of the recipe: the tower with its teacher's heads, and LLaVA around it."""

from typing import Any

import torch
from torch import nn
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig

from llava.model import LlavaConfig, LlavaLlamaForCausalLM
from playground.shapes.data import PATCH
from playground.shapes.scene import COLORS, PLACES, SHAPES, SIDE, SIZES
from playground.shapes.text import VOCABULARY

SELECT_LAYER = -2
# Ten times LLaMA's: with heads of width 32, more of each head can match content at a distance of 300 tokens.
ROPE_THETA = 100_000.0
# Most patches show nothing; without this they would drown the others.
_WEIGHT_OF_NOTHING = 0.2
# About the size of what the patches' pixels give at the start.
_POSITION_SCALE = 0.3
# What a patch can be called; "1" marks the middle of a thing, for counting.
WORDS = (*COLORS, *SHAPES, *SIZES, "1", "top", "bottom", "left", "right", "center")
_CHOICES = (1 + len(COLORS), 1 + len(SHAPES), 1 + len(SIZES), 2, len(PLACES))


class TowerWithTeacher(nn.Module):
    """CLIP, and a linear layer that reads off each patch's features what the patch shows.

    The contrastive loss is CLIP's, on [CLS] and captions. The second loss is not: it makes the features that LLaVA
    takes (of the layer before the last) say what is where, which contrast alone teaches after far more pictures.
    """

    def __init__(self, width: int = 160, layers: int = 6) -> None:
        super().__init__()
        heads = max(1, width // 32)
        shared = {"hidden_size": width, "intermediate_size": 4 * width, "num_attention_heads": heads}
        text = shared | {
            "num_hidden_layers": 2,
            "vocab_size": VOCABULARY,
            "max_position_embeddings": 128,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": 0,
        }
        vision = shared | {"num_hidden_layers": layers, "image_size": SIDE, "patch_size": PATCH}
        config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=width)
        self.clip = CLIPModel(config)
        with torch.no_grad():
            positions = self.clip.vision_model.embeddings.position_embedding.weight
            positions[1:] = _POSITION_SCALE * waves(SIDE // PATCH, width)
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


class Aligned(nn.Module):
    """The projector alone learns to turn a patch into the sum of the words for what it shows.

    Args:
        llava: everything but its projector is frozen, the tower and the random word embeddings too.
        words: token id of each word in `WORDS`.
    """

    def __init__(self, llava: LlavaLlamaForCausalLM, words: list[int]) -> None:
        super().__init__()
        self.llava = llava.requires_grad_(False)
        self.llava.get_model().mm_projector.requires_grad_(True)
        self.register_buffer("words", torch.tensor(words), persistent=False)

    def forward(self, images: torch.Tensor, patches: torch.Tensor, **_: torch.Tensor) -> dict[str, torch.Tensor]:
        """The squared error over that of saying nothing; patches with a thing count five times as much."""
        with torch.no_grad():
            features = self.llava.get_vision_tower().encode(images).features
            words = self.llava.get_input_embeddings().weight[self.words]
            said = torch.cat([words, torch.zeros_like(words[:1])])
            wanted = said[self.numbers(patches)].sum(dim=2)
            weight = torch.where(patches[..., 0] > 0, 1.0, _WEIGHT_OF_NOTHING)[..., None]
        error = (self.llava.get_model().mm_projector(features) - wanted) ** 2
        return {"loss": (weight * error).sum() / (weight * wanted**2).sum()}

    def numbers(self, patches: torch.Tensor) -> torch.Tensor:
        """(B, 256, 6) numbers of words; the last word means none."""
        none, start, numbers = len(WORDS), 0, []
        for column, names in enumerate((COLORS, SHAPES, SIZES, ("1",))):
            chosen = patches[..., column]
            numbers.append(torch.where(chosen > 0, chosen - 1 + start, none))
            start += len(names)
        table = torch.tensor(_place_words(start, none), device=patches.device)
        return torch.cat([torch.stack(numbers, dim=-1), table[patches[..., 4]]], dim=-1)


def _place_words(start: int, none: int) -> list[list[int]]:
    """Two numbers for each place, of the words in its name."""
    names = WORDS[start:]
    split = [place.split() for place in PLACES]
    return [[start + names.index(word) for word in words] + [none] * (2 - len(words)) for words in split]


class Taught(nn.Module):
    """LLaVA with the tower's teacher still reading along, so that the tower keeps learning what its patches show.

    Args:
        share: weight of the teacher's loss beside the language model's.
    """

    def __init__(self, llava: LlavaLlamaForCausalLM, teacher: nn.Linear, share: float = 0.5) -> None:
        super().__init__()
        self.llava, self.teacher, self.share = llava, teacher, share

    def forward(self, patches: torch.Tensor, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """The loss. `batch` is LLaVA's; `patches` (B, 256, 5) int64, see `patch_targets`."""
        features: list[torch.Tensor] = []
        projector = self.llava.get_model().mm_projector
        listening = projector.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
        language = self.llava(**batch, use_cache=False).loss
        listening.remove()
        return {"loss": language + self.share * teacher_loss(self.teacher(features[0]), patches), "language": language}


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


def _weights(verdict: torch.Tensor, number: int) -> torch.Tensor:
    weights = torch.ones(verdict.shape[-1], device=verdict.device)
    if number < len(_CHOICES) - 1:
        weights[0] = _WEIGHT_OF_NOTHING
    return weights


def build_llava(vision: CLIPVisionConfig, width: int = 160, layers: int = 8) -> LlavaLlamaForCausalLM:
    """A LLaVA with random weights around a tower of this geometry.

    LLaMA's initial spread of 0.02 is made for 4096 channels; at 160 it leaves queries and keys so small that looking
    something up in the picture was not learned in 250 steps. One over the root of the width is the same rule.
    """
    config = LlavaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=width * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        num_key_value_heads=width // 32,
        max_position_embeddings=2048,
        rms_norm_eps=1e-5,
        initializer_range=width**-0.5,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=False,
        **llava_keys(vision),
    )
    model = LlavaLlamaForCausalLM(config)
    begin_by_likeness(model)
    return model


@torch.no_grad()
def begin_by_likeness(model: LlavaLlamaForCausalLM) -> None:
    """Start where like tokens look at each other and pass on what they are, and words are told by their embeddings.

    Queries equal keys, what a head hands out undoes how it took it in, and the output layer equals the embeddings: the
    idea of Trockman & Kolter, "Mimetic initialization of self-attention layers" (2023), here for looking things up.
    Everything is learned from there. From plain random weights 250 steps taught no looking up at all.
    """
    model.lm_head.weight.copy_(model.get_input_embeddings().weight)
    for layer in model.get_model().layers:
        attention = layer.self_attn
        attention.k_proj.weight.copy_(attention.q_proj.weight)
        attention.o_proj.weight.copy_(0.5 * attention.v_proj.weight.T)


def llava_keys(vision: CLIPVisionConfig) -> dict[str, Any]:
    """LLaVA-1.5's own keys of `config.json`."""
    return {
        "mm_vision_tower": "vision_tower",
        "mm_vision_config": vision.to_diff_dict(),
        "mm_hidden_size": vision.hidden_size,
        "mm_projector_type": "mlp2x_gelu",
        "mm_vision_select_layer": SELECT_LAYER,
        "mm_vision_select_feature": "patch",
        "mm_use_im_start_end": False,
        "mm_use_im_patch_token": False,
        "image_aspect_ratio": "pad",
        "tokenizer_model_max_length": 2048,
        "tokenizer_padding_side": "right",
        "use_mm_proj": True,
    }
