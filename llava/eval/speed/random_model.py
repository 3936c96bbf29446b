"""Models with random weights and a stopwatch, for measuring cost without a checkpoint."""

import platform
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import transformers
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPVisionConfig

from llava.constants import IMAGE_TOKEN_INDEX
from llava.model.image_entries import Sizes
from llava.model.language_model.llava_causal_lm import LlavaCausalLM
from llava.model.language_model.llava_llama import LlavaConfig, LlavaLlamaForCausalLM
from llava.model.multimodal_encoder.clip_text import ClipHalf, give_clip_half
from llava.model.question import give_tokenizer


@dataclass(frozen=True)
class Shape:
    """Sizes of a random LLaVA; by default the depth and picture of LLaVA-1.5-7B at a width that a CPU can carry.

    `grid`: tiles along each side of a LLaVA-NeXT picture, which is seen whole as well; 0: one view.
    """

    layers: int = 32
    width: int = 512
    intermediate: int = 1376
    heads: int = 8
    vision_layers: int = 24
    vision_width: int = 256
    vision_heads: int = 4
    image_size: int = 336
    patch_size: int = 14
    vocabulary: int = 32000
    grid: int = 0

    @property
    def picture(self) -> tuple[int, int]:
        """(width, height) in pixels of a picture that fills its tiles."""
        return (max(1, self.grid) * self.image_size,) * 2


# The published models' sizes, for machines that can hold them; `next` is half as deep as those, for a CPU, and `tiny`
# is for trying out the programs themselves.
PRESETS = {
    "tiny": Shape(8, 64, 128, 4, 3, 32, 2, image_size=112, vocabulary=100),
    "small": Shape(),
    "7b": Shape(32, 4096, 11008, 32, vision_width=1024, vision_heads=16),
    "13b": Shape(40, 5120, 13824, 40, vision_width=1024, vision_heads=16),
    "next": Shape(layers=16, vision_layers=12, grid=2),
    "next-7b": Shape(32, 4096, 11008, 32, vision_width=1024, vision_heads=16, grid=2),
    "next-13b": Shape(40, 5120, 13824, 40, vision_width=1024, vision_heads=16, grid=2),
}


def random_model(shape: Shape, device: str, dtype: torch.dtype, attention: str = "sdpa") -> LlavaLlamaForCausalLM:
    """A LLaVA-1.5, or a LLaVA-NeXT, of this shape with random weights (seed 0), in evaluation mode."""
    torch.manual_seed(0)
    anyres: dict[str, Any] = {"image_aspect_ratio": "anyres", "mm_patch_merge_type": "spatial_unpad"}
    anyres |= {"image_grid_pinpoints": [list(shape.picture)]}
    vision = CLIPVisionConfig(
        hidden_size=shape.vision_width,
        intermediate_size=4 * shape.vision_width,
        num_hidden_layers=shape.vision_layers,
        num_attention_heads=shape.vision_heads,
        image_size=shape.image_size,
        patch_size=shape.patch_size,
    )
    config = LlavaConfig(
        hidden_size=shape.width,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        vocab_size=shape.vocabulary,
        max_position_embeddings=4096,
        mm_vision_tower="random",
        mm_vision_config=vision.to_diff_dict(),
        mm_hidden_size=shape.vision_width,
        mm_projector_type="mlp2x_gelu",
        attn_implementation=attention,
        **(anyres if shape.grid else {}),
    )
    with torch.device(device):
        model = LlavaLlamaForCausalLM(config)
    model = model.to(dtype).eval()
    give_tokenizer(model, NumberTokenizer(shape.vocabulary))
    with torch.device("meta" if device == "meta" else "cpu"):
        half = random_clip_half(shape)
    give_clip_half(model.get_vision_tower(), half)
    return model


class NumberTokenizer:
    """Ids to their numbers and back: a tokenizer for questions of random ids."""

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = vocabulary

    def decode(self, ids: list[int], **_: object) -> str:
        """The ids with blanks between."""
        return " ".join(map(str, ids))

    def __call__(self, text: str | list[str], **_: object) -> Any:
        """An object with `input_ids`; below the vocabulary whatever the text is."""
        ids = [
            [int(word) % self.vocabulary for word in one.split()] for one in ([text] if isinstance(text, str) else text)
        ]
        return SimpleNamespace(input_ids=ids[0] if isinstance(text, str) else ids)


def random_clip_half(shape: Shape) -> ClipHalf:
    """A text tower of CLIP-L's shape with random weights, narrower as the vision tower is narrower."""
    width = 64 * max(1, round(0.75 * shape.vision_width / 64))
    config = CLIPTextConfig(
        hidden_size=width, intermediate_size=4 * width, num_attention_heads=width // 64, projection_dim=width,
        bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    torch.manual_seed(1)  # the same whatever was drawn before, and where
    text = CLIPTextModelWithProjection(config)
    return ClipHalf(text, torch.randn(width, shape.vision_width) * shape.vision_width**-0.5, NumberTokenizer(49408))


def prompt_ids(text_tokens: int, vocabulary: int, device: str) -> torch.Tensor:
    """(1, text_tokens + 1) int64: a prompt whose image comes after 35 tokens, as under `vicuna_v1`."""
    ids = torch.randint(3, vocabulary, (1, text_tokens + 1), generator=torch.Generator().manual_seed(0))
    ids[0, min(35, text_tokens)] = IMAGE_TOKEN_INDEX
    return ids.to(device)


def noise(model: LlavaCausalLM, images: int = 1) -> tuple[list[torch.Tensor], Sizes]:
    """Pictures of noise, (views, 3, h, w) each, and their (width, height): the largest that a random model takes."""
    views, side = model.geometry.views, model.get_vision_tower().image_size
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randn(images, views, 3, side, side, generator=draw).to(model.device)
    pinpoints = getattr(model.config, "image_grid_pinpoints", None) or [[side, side]]
    width, height = pinpoints[0]
    return list(pixels), [(width, height)] * images


def machine(device: str) -> str:
    """The GPU or processor that a device is, threads and versions, in one line."""
    if device == "cuda":
        name = torch.cuda.get_device_name()
    else:
        info = Path("/proc/cpuinfo")
        lines = info.read_text().splitlines() if info.is_file() else []
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
        count = torch.get_num_threads()
        name = f"{model or platform.processor() or platform.machine()}, {count} thread{'s' if count > 1 else ''}"
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, Python {platform.python_version()}"
    return f"{name}; {versions}"
