"""Giving a plain language model eyes, as LLaVA's training does: tower, projector, newline token, special tokens."""

import contextlib
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase
from transformers.integrations import is_deepspeed_zero3_enabled

from llava.constants import DEFAULT_IM_END_TOKEN, DEFAULT_IM_START_TOKEN, DEFAULT_IMAGE_PATCH_TOKEN
from llava.errors import InputError
from llava.model.checkpoint.tensors import State, read_file
from llava.model.loading.names import VOCABULARY, compare
from llava.model.multimodal_encoder.builder import build_vision_tower
from llava.model.multimodal_projector.builder import build_vision_projector

NEWLINE = "image_newline"


class VisionModules:
    """Mixed in before a decoder that holds `vision_tower`, `mm_projector` and perhaps `image_newline`."""

    def initialize_vision_modules(self, model_args: Any, fsdp: Any = None) -> None:
        """LLaVA's beginning of training: build what is missing, load the tower, take over a pretrained projector.

        Args:
            model_args: `vision_tower`, `mm_vision_select_layer`, `mm_vision_select_feature`, `pretrain_mm_mlp_adapter`
                (a file of projector weights, or None), `mm_patch_merge_type`, `mm_projector_type`, `s2`, `s2_scales`.
            fsdp: LLaVA hides the tower in a list where it is set; not needed here, and without effect.

        Raises:
            InputError: when the tower is nowhere, or the projector's file is not this projector's.
        """
        config, tower = self.config, self.get_vision_tower()
        config.mm_vision_tower = model_args.vision_tower
        if tower is None:
            tower = build_vision_tower(model_args)
            self.vision_tower = tower
        else:
            tower.load_model()
        for key in ("s2", "s2_scales"):  # what the tower was built by, so that it is built again
            if getattr(model_args, key, None) is not None:
                setattr(config, key, getattr(model_args, key))
        config.mm_vision_config = tower.config.to_diff_dict()
        config.use_mm_proj = True
        config.mm_projector_type = getattr(model_args, "mm_projector_type", "linear")
        config.mm_hidden_size = tower.hidden_size
        config.mm_vision_select_layer = model_args.mm_vision_select_layer
        config.mm_vision_select_feature = tower.select_feature
        config.mm_patch_merge_type = getattr(model_args, "mm_patch_merge_type", None) or "flat"
        if getattr(self, "mm_projector", None) is None:
            self.mm_projector = build_vision_projector(config)
        else:
            self.mm_projector.requires_grad_(True)
        if "unpad" in config.mm_patch_merge_type and getattr(self, NEWLINE, None) is None:
            spread = torch.tensor(config.hidden_size, dtype=self.dtype).rsqrt()
            self.image_newline = nn.Parameter(torch.randn(config.hidden_size, dtype=self.dtype) * spread)
        pretrained = getattr(model_args, "pretrain_mm_mlp_adapter", None)
        if pretrained is not None:
            load_pretrained_parts(self, pretrained)


class VisionTokenizer:
    """Mixed in before a causal LM whose tokenizer may need LLaVA's own tokens."""

    def initialize_vision_tokenizer(self, model_args: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        """Add LLaVA's tokens to a tokenizer and rows for them to the embeddings, as its training does.

        Args:
            model_args: `mm_use_im_patch_token`, `mm_use_im_start_end`, `tune_mm_mlp_adapter`,
                `pretrain_mm_mlp_adapter`.

        New rows begin as the mean of the older ones, those that `load_pretrained_model` adds beside an adapter.
        """
        tunes = getattr(model_args, "tune_mm_mlp_adapter", False)
        if model_args.mm_use_im_patch_token:
            new = tokenizer.add_tokens([DEFAULT_IMAGE_PATCH_TOKEN], special_tokens=True)
            add_rows(self, len(tokenizer), new)
        if model_args.mm_use_im_start_end:
            new = tokenizer.add_tokens([DEFAULT_IM_START_TOKEN, DEFAULT_IM_END_TOKEN], special_tokens=True)
            add_rows(self, len(tokenizer), new)
            if tunes:
                self.get_input_embeddings().requires_grad_(True)
                self.get_output_embeddings().requires_grad_(False)
            pretrained = getattr(model_args, "pretrain_mm_mlp_adapter", None)
            if pretrained and new:
                _take_rows(self.get_input_embeddings().weight.data, read_file(str(pretrained)), new, str(pretrained))
        elif model_args.mm_use_im_patch_token and tunes:
            self.get_input_embeddings().requires_grad_(False)
            self.get_output_embeddings().requires_grad_(False)


def add_rows(model: Any, size: int, new: int) -> None:
    """Give embeddings and output layer `size` rows; the last `new`, of new tokens, are the mean of those before."""
    model.resize_token_embeddings(size, mean_resizing=False)
    tables = [model.get_input_embeddings().weight, model.get_output_embeddings().weight]
    if new:
        with _whole(tables), torch.no_grad():
            for table in tables:
                if len(table) == size:  # under ZeRO-3 the first device has it and hands it out
                    table[-new:] = table[:-new].float().mean(dim=0, keepdim=True).to(table.dtype)


def _whole(weights: list[torch.Tensor]) -> Any:
    """Weights that DeepSpeed's ZeRO-3 has shared out, put together for a while."""
    if not is_deepspeed_zero3_enabled():
        return contextlib.nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters(weights, modifier_rank=0)


def load_pretrained_parts(decoder: Any, path: str | Path) -> None:
    """Fill a decoder's projector, and its newline token where both have one, from a file such as `mm_projector.bin`.

    LLaVA's file has the projector alone. The newline token that a LLaVA-NeXT's projector was trained with lies beside
    it in files that are written here. What else a file holds is passed over.

    Raises:
        InputError: when the file's projector, or newline token, is another one.
    """
    held = read_file(str(path))
    decoder.mm_projector.load_state_dict(_projector_in(held, decoder.mm_projector, str(path)))
    newline, kept = getattr(decoder, NEWLINE, None), [name for name in held if name.rsplit(".", 1)[-1] == NEWLINE]
    if newline is not None and kept:
        compare({NEWLINE: held[kept[0]]}, {NEWLINE: newline.data}, set(), str(path))
        newline.data.copy_(held[kept[0]][...])


def check_pretrained(projector: nn.Module, path: str) -> None:
    """Refuse a file whose projector is another one than this, whose tensors may be on torch's `meta` device."""
    _projector_in(read_file(path), projector, path)


def _projector_in(held: State, projector: nn.Module, path: str) -> dict[str, torch.Tensor]:
    own = {name.split("mm_projector.", 1)[1]: tensor[...] for name, tensor in held.items() if "mm_projector." in name}
    compare(own, projector.state_dict(), set(), path)
    return own


def _take_rows(table: torch.Tensor, held: State, new: int, origin: str) -> None:
    """The newest rows of an embedding, from a whole one of that size or from those rows alone."""
    name = next((name for name in VOCABULARY[:-1] if name in held), VOCABULARY[0])
    rows = held[name][...] if name in held else None
    if rows is None or rows.shape[1:] != table.shape[1:] or len(rows) not in (new, len(table)):
        got = "none" if rows is None else f"{tuple(rows.shape)}"
        raise InputError(
            f"a projector trained with <im_start> and <im_end> must bring their embeddings: '{origin}' has {got} as "
            f"{name}, expected ({new}, {table.shape[1]}) or {tuple(table.shape)}; use the file that training wrote"
        )
    table[-new:] = rows[-new:].to(table)
