"""LLaVA around the tower: its random beginning, what aligning trains of it, and how the last stages call it."""

from typing import Any

import torch
from torch import nn
from transformers import CLIPVisionConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from llava.model import LlavaConfig, LlavaLlamaForCausalLM
from playground.shapes.data import MEAN, STD
from playground.shapes.scene import COLORS, PLACES, SHAPES, SIZES
from playground.shapes.text import VOCABULARY
from playground.shapes.tower import SELECT_LAYER, WEIGHT_OF_NOTHING

# Ten times LLaMA's: with heads of width 64, more of each head can match content at a distance of 300 tokens.
ROPE_THETA = 100_000.0
# What a patch can be called; "1" marks the middle of a thing, for counting.
WORDS = (*COLORS, *SHAPES, *SIZES, "1", "top", "bottom", "left", "right", "center")
# What a patch is called that shows nothing: the token of byte 0, which no text has.
NOTHING = 3


class Aligned(nn.Module):
    """The projector alone learns to turn a patch into the sum of the words for what it shows, or to `NOTHING`.

    No loss of LLaVA's, so llava.train does not do it: captions teach a projector through a language model that speaks,
    and this one is random.

    Patches that show nothing say nothing of their place either. While they did, "the shape at the top left" matched
    bare ground better than the shape there, and after 300 steps of questions 41 % of colors at a place were right.

    Args:
        llava: everything but its projector is frozen, the tower and the random word embeddings too.
        words: token id of each word in `WORDS`.
    """

    def __init__(self, llava: LlavaLlamaForCausalLM, words: list[int]) -> None:
        super().__init__()
        self.llava = llava.requires_grad_(False)
        self.llava.get_model().mm_projector.requires_grad_(True)
        self.register_buffer("words", torch.tensor([*words, NOTHING]), persistent=False)

    def forward(self, images: torch.Tensor, patches: torch.Tensor, **_: torch.Tensor) -> dict[str, torch.Tensor]:
        """The squared error over that of saying nothing; patches with a thing count five times as much."""
        with torch.no_grad():
            features = self.llava.get_vision_tower().encode(images).features
            words = self.llava.get_input_embeddings().weight[self.words]
            said = torch.cat([words, torch.zeros_like(words[:1])])
            wanted = said[self.numbers(patches)].sum(dim=2)
            weight = torch.where(patches[..., 0] > 0, 1.0, WEIGHT_OF_NOTHING)[..., None]
        error = (self.llava.get_model().mm_projector(features) - wanted) ** 2
        return {"loss": (weight * error).sum() / (weight * wanted**2).sum()}

    def numbers(self, patches: torch.Tensor) -> torch.Tensor:
        """(B, 256, 6) numbers of words; the last but one is `NOTHING`, the last means no word."""
        nothing, none = len(WORDS), len(WORDS) + 1
        start, numbers = 0, []
        for column, names in enumerate((COLORS, SHAPES, SIZES, ("1",))):
            chosen = patches[..., column]
            numbers.append(torch.where(chosen > 0, chosen - 1 + start, none))
            start += len(names)
        table = torch.tensor(_place_words(start, none), device=patches.device)
        told = torch.cat([torch.stack(numbers, dim=-1), table[patches[..., 4]]], dim=-1)
        bare = torch.tensor([nothing] + [none] * (told.shape[-1] - 1), device=patches.device)
        return torch.where(patches[..., :1] > 0, told, bare)


def _place_words(start: int, none: int) -> list[list[int]]:
    """Two numbers for each place, of the words in its name."""
    names = WORDS[start:]
    split = [place.split() for place in PLACES]
    return [[start + names.index(word) for word in words] + [none] * (2 - len(words)) for words in split]


class Unmasked(nn.Module):
    """LLaVA without its batch's mask, which its last stages need not.

    Texts are padded at the right, where no token looks, and padding has no label; attention then takes its faster
    causal path, and a step 13 % less time.
    """

    def __init__(self, llava: LlavaLlamaForCausalLM) -> None:
        super().__init__()
        self.llava = llava

    def forward(self, attention_mask: torch.Tensor, **inputs: Any) -> Any:
        """As the LLaVA's."""
        return self.llava(**inputs)


def build_llava(vision: CLIPVisionConfig, width: int = 192, layers: int = 8) -> LlavaLlamaForCausalLM:
    """A LLaVA with random weights around a tower of this geometry.

    LLaMA's initial spread of 0.02 is made for 4096 channels; at 160 it leaves queries and keys so small that looking
    something up in the picture was not learned in 250 steps. One over the root of the width is the same rule.
    """
    config = LlavaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=width * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 64),
        num_key_value_heads=max(1, width // 64),
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
    # A checkpoint of training says with it how pictures become pixels.
    model.get_vision_tower().image_processor = CLIPImageProcessorPil(**preprocessor_config(vision.image_size))
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


def round_weights(model: LlavaLlamaForCausalLM) -> LlavaLlamaForCausalLM:
    """Round to float16, as the checkpoint is: a stage then begins alike after another stage and from a checkpoint."""
    for weight in model.parameters():
        weight.data = weight.data.half().float()
    return model


@torch.no_grad()
def fit_projector(model: LlavaLlamaForCausalLM, images: torch.Tensor) -> None:
    """Divide the projector's first layer by the size of the features it will get, from pictures (B, 3, 128, 128).

    A tower's features are not normalised: these are seven times as large as a layer expects. Begun without this, the
    projector's units were all pushed below zero in the first steps and it said the same of every patch ever after.
    """
    features = model.get_vision_tower().encode(images).features
    model.get_model().mm_projector[0].weight.div_(features.pow(2).mean().sqrt())


def preprocessor_config(side: int) -> dict[str, Any]:
    """The image processor's settings, for pictures of `side` x `side` pixels."""
    steps = ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb")
    return dict.fromkeys(steps, True) | {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": side},
        "crop_size": {"height": side, "width": side},
        "resample": 3,
        "rescale_factor": 1 / 255,
        "image_mean": [MEAN] * 3,
        "image_std": [STD] * 3,
    }


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
