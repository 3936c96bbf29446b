"""Tiny models of transformers' own classes with random weights, and inputs for them that need no processor."""

import copy
import functools
from typing import Any

import torch
import transformers

PINPOINTS = [[84, 168], [168, 84], [168, 168]]
PICTURE, START, END, VIDEO, PAD, WORDS = 90, 91, 92, 93, 0, 80


def shaken(model: Any, seed: int = 0) -> Any:
    """Weights by which attention is uneven and every norm counts, so that a wrong token changes logits."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            fresh = torch.randn(weight.shape, generator=draw)
            if weight.ndim < 2:
                weight.copy_(0.1 * fresh + (1 if "norm" in name and name.endswith("weight") else 0))
                continue
            gain = 1.7 if any(part in name for part in ("q_proj", "k_proj", "qkv")) else 1.0
            width = 1 if "embed" in name and weight.ndim == 2 else weight[0].numel()
            weight.copy_(gain * fresh / width**0.5)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = None, PAD
    return model.eval()


def made_once(make: Any) -> Any:
    """A maker whose models are copies of one: a copy takes a quarter of the time, and may be changed."""
    kept = functools.cache(make)

    @functools.wraps(make)
    def copied(*args: Any, **kwargs: Any) -> Any:
        return copy.deepcopy(kept(*args, **kwargs))

    return copied


def _text(**more: Any) -> dict[str, Any]:
    sizes = {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 5, "num_attention_heads": 6}
    ends = {"pad_token_id": PAD, "bos_token_id": 1, "eos_token_id": 2, "max_position_embeddings": 4096}
    return {**sizes, "num_key_value_heads": 2, "vocab_size": 96, **ends, **more}


@made_once
def llava(seed: int = 0, **vision: Any) -> Any:
    """6 x 6 patches and [CLS]."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 5, "num_attention_heads": 4}
    tower = transformers.CLIPVisionConfig(
        **{**sizes, "image_size": 84, "patch_size": 14, "projection_dim": 32, **vision}
    )
    text = transformers.LlamaConfig(**_text())
    config = transformers.LlavaConfig(
        vision_config=tower, text_config=text, image_token_index=PICTURE, vision_feature_layer=-2
    )
    return shaken(transformers.LlavaForConditionalGeneration(config), seed)


@made_once
def llava_next(seed: int = 0) -> Any:
    """CLIP seen in tiles of 6 x 6 patches, newlines between."""
    plain = llava(seed).config
    parts = {"vision_config": plain.vision_config, "text_config": plain.text_config, "image_token_index": PICTURE}
    config = transformers.LlavaNextConfig(**parts, vision_feature_layer=-2, image_grid_pinpoints=PINPOINTS)
    return shaken(transformers.LlavaNextForConditionalGeneration(config), seed)


@made_once
def onevision(seed: int = 0) -> Any:
    """SigLIP seen in tiles, larger pictures shrunk."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4}
    tower = transformers.SiglipVisionConfig(**sizes, image_size=84, patch_size=14, vision_use_head=False)
    marks = {"image_token_index": PICTURE, "video_token_index": VIDEO, "image_grid_pinpoints": PINPOINTS}
    parts = {"vision_config": tower, "text_config": transformers.Qwen2Config(**_text())}
    config = transformers.LlavaOnevisionConfig(**parts, **marks, vision_aspect_ratio="anyres_max_1")
    return shaken(transformers.LlavaOnevisionForConditionalGeneration(config), seed)


def _marks() -> dict[str, int]:
    return {
        "image_token_id": PICTURE,
        "video_token_id": VIDEO,
        "vision_start_token_id": START,
        "vision_end_token_id": END,
    }


def _rope(**more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 2], **more}}


@made_once
def qwen2_5(seed: int = 0) -> Any:
    """Windows of 2 x 2 merged tokens; blocks 1 and 3 look at whole pictures."""
    sizes = {"depth": 4, "hidden_size": 32, "intermediate_size": 48, "num_heads": 4, "out_hidden_size": 48}
    blocks = {"window_size": 56, "fullatt_block_indexes": [1, 3], "tokens_per_second": 2}
    vision = {**sizes, **blocks, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2}
    config = transformers.Qwen2_5_VLConfig(vision_config=vision, text_config=_text(**_rope()), **_marks())
    return shaken(transformers.Qwen2_5_VLForConditionalGeneration(config), seed)


@made_once
def qwen2(seed: int = 0) -> Any:
    """Every block looks at whole pictures."""
    vision = {"depth": 4, "embed_dim": 32, "hidden_size": 48, "mlp_ratio": 2, "num_heads": 4, "patch_size": 14}
    config = transformers.Qwen2VLConfig(vision_config=vision, text_config=_text(**_rope()), **_marks())
    return shaken(transformers.Qwen2VLForConditionalGeneration(config), seed)


@made_once
def qwen3(seed: int = 0) -> Any:
    """Deepstack features after blocks 0, 1 and 2."""
    sizes = {"depth": 4, "hidden_size": 32, "intermediate_size": 48, "num_heads": 4, "out_hidden_size": 48}
    more = {"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1, 2]}
    vision = {**sizes, **more, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2}
    text = _text(**_rope(mrope_interleaved=True), head_dim=8)
    config = transformers.Qwen3VLConfig(vision_config=vision, text_config=text, **_marks())
    return shaken(transformers.Qwen3VLForConditionalGeneration(config), seed)


@made_once
def internvl(seed: int = 0, **text: Any) -> Any:
    """Tiles of 8 x 8 patches, merged to 4 x 4 tokens."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4}
    tower = transformers.InternVLVisionConfig(**sizes, image_size=[56, 56], patch_size=[7, 7], use_qk_norm=True)
    words = (transformers.Qwen3Config if text else transformers.Qwen2Config)(**_text(**text))
    config = transformers.InternVLConfig(
        vision_config=tower, text_config=words, image_token_id=PICTURE, image_seq_length=16, tie_word_embeddings=False
    )
    model = shaken(transformers.InternVLForConditionalGeneration(config), seed)
    with torch.no_grad():
        model.lm_head.weight[PICTURE:] = 0  # or this model would say so itself
    return model


BY_HAND = {"llava": llava, "qwen2": qwen2, "qwen2_5": qwen2_5, "qwen3": qwen3, "internvl": internvl}
MODELS = {**BY_HAND, "llava_next": llava_next, "onevision": onevision}
# Rows and columns of patches of the pictures of a test, for models that take any size.
# Heights and widths in pixels of those for models that see tiles.
SIZES = ((84, 160), (150, 90), (84, 160), (168, 168))
GRIDS = ((8, 12), (12, 8), (8, 12), (6, 10))
# Tiles of those for InternVL, the thumbnail among them.
TILES = (3, 1, 3, 2)


def picture(model: Any, number: int) -> tuple[dict[str, torch.Tensor], int]:
    """One picture as a processor gives it, and its tokens."""
    draw = torch.Generator().manual_seed(100 + number)
    if hasattr(model.model, "visual"):
        high, wide = GRIDS[number % len(GRIDS)]
        pixels = torch.randn(high * wide, 3 * 2 * 14 * 14, generator=draw)
        return {"pixel_values": pixels, "image_grid_thw": torch.tensor([[1, high, wide]])}, high * wide // 4
    if hasattr(model.config, "downsample_ratio"):
        tiles = TILES[number % len(TILES)]
        return {"pixel_values": torch.randn(tiles, 3, 56, 56, generator=draw)}, 16 * tiles
    if not hasattr(model.config, "image_grid_pinpoints"):
        return {"pixel_values": torch.randn(1, 3, 84, 84, generator=draw)}, 36
    size = SIZES[number % len(SIZES)]
    views = 5 if size == (168, 168) else 3
    pixels = torch.zeros(1, 5, 3, 84, 84)  # filled up to the most views
    pixels[0, :views] = torch.randn(views, 3, 84, 84, generator=draw)
    made = {"pixel_values": pixels, "image_sizes": torch.tensor([size])}
    with torch.no_grad():
        return made, len(model.model.get_image_features(**made, return_dict=True).pooler_output[0])


def inputs(model: Any, rows: list[list[int]], seed: int = 1) -> dict[str, torch.Tensor]:
    """Prompts padded on the left, each with the pictures of those numbers between words, as a processor gives them."""
    prompts, seen = [], []
    for number, pictures in enumerate(rows):
        words = torch.Generator().manual_seed(seed + number)
        ids = torch.randint(3, WORDS, (3 + 2 * number,), generator=words).tolist()
        for one in pictures:
            made, count = picture(model, one)
            seen.append(made)
            ids += [START, *[PICTURE] * count, END, *torch.randint(3, WORDS, (3,), generator=words).tolist()]
        prompts.append(ids)
    width = max(map(len, prompts))
    table = torch.tensor([[PAD] * (width - len(ids)) + ids for ids in prompts])
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts])
    given = {"input_ids": table, "attention_mask": mask}
    for key in seen[0] if seen else ():
        given[key] = torch.cat([made[key] for made in seen])
    if "image_sizes" in given and hasattr(model.config, "vision_aspect_ratio"):
        given["batch_num_images"] = torch.ones(len(seen), dtype=torch.long)  # each in tiles
    if "image_grid_thw" in given:
        given["mm_token_type_ids"] = (table == PICTURE).int()
    return given


def video(model: Any, number: int, pairs: int = 2) -> tuple[dict[str, torch.Tensor], list[int]]:
    """One video of Qwen's as a processor gives it, and the tokens of each pair of its frames."""
    frames = [picture(model, number + 10 * at) for at in range(pairs)]
    _, high, wide = frames[0][0]["image_grid_thw"][0].tolist()
    draw = torch.Generator().manual_seed(500 + number)
    pixels = torch.randn(pairs * high * wide, 3 * 2 * 14 * 14, generator=draw)
    made = {"pixel_values_videos": pixels, "video_grid_thw": torch.tensor([[pairs, high, wide]])}
    return made, [high * wide // 4] * pairs


def video_inputs(model: Any, rows: list[int], pairs: int = 2) -> dict[str, torch.Tensor]:
    """Prompts padded on the left with a video each; Qwen3-VL has a time before each pair of frames."""
    prompts, seen = [], []
    for number, one in enumerate(rows):
        made, counts = video(model, one, pairs)
        seen.append(made)
        ids = [5 + number] * (3 + 2 * number)
        if "Qwen3" in type(model).__name__:
            for at, count in enumerate(counts):
                ids += [20 + at, START, *[VIDEO] * count, END]
        else:
            ids += [START, *[VIDEO] * sum(counts), END]
        prompts.append([*ids, 30, 31, 32])
    width = max(map(len, prompts))
    table = torch.tensor([[PAD] * (width - len(ids)) + ids for ids in prompts])
    given = {key: torch.cat([made[key] for made in seen]) for key in seen[0]}
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts])
    return {**given, "input_ids": table, "attention_mask": mask, "mm_token_type_ids": 2 * (table == VIDEO).int()}
