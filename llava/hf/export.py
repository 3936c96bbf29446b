"""A LLaVA of this project in transformers' layout (llava-hf): the files that transformers, vLLM and others read."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict
from tokenizers import AddedToken

from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.conversation import Conversation
from llava.conversation_jinja import as_jinja
from llava.errors import InputError, shown
from llava.files.writing import unwritable, write_text
from llava.hf.export_config import PROCESSORS, hf_config, preprocessor
from llava.model.devices import whole_state
from llava.model.generation.stops import stops_of
from llava.model.tokenizers.fast import as_fast
from llava.model.tokenizers.llama import LlamaTokenizer
from llava.model.tokenizers.settings import add_settings

VIDEO, PADDING = "<video>", "<pad>"
# The names that every release of transformers and vLLM reads.
NAMES = (
    (r"^model\.mm_projector\.0\.", "multi_modal_projector.linear_1."),
    (r"^model\.mm_projector\.2\.", "multi_modal_projector.linear_2."),
    (r"^model\.vision_tower\.vision_tower\.", "vision_tower.vision_model."),
    (r"^model\.image_newline$", "image_newline"),
    (r"^model\.(?=layers\.|norm\.|embed_tokens\.)", "language_model.model."),
    (r"^lm_head\.", "language_model.lm_head."),
)
ROWS = ("language_model.model.embed_tokens.weight", "language_model.lm_head.weight")


def export(model: Any, tokenizer: Any, template: Conversation, folder: str) -> None:
    """Write a model as a llava-hf folder: weights, configuration, tokenizer, processor and chat template.

    Args:
        template: becomes the chat template.

    Raises:
        InputError: for a model that this layout cannot say, or a folder that cannot be written.
    """
    marked = getattr(model.config, "mm_use_im_start_end", False)
    image = f"<im_start>{DEFAULT_IMAGE_TOKEN}<im_end>" if marked else DEFAULT_IMAGE_TOKEN
    fast = as_fast(tokenizer)
    marks = [DEFAULT_IMAGE_TOKEN, VIDEO] + ([PADDING] if fast.pad_token is None else [])
    fast.add_tokens([AddedToken(mark, normalized=False, special=True) for mark in marks], special_tokens=True)
    fast.pad_token = PADDING if fast.pad_token is None else fast.pad_token
    ids = {mark: fast.convert_tokens_to_ids(mark) for mark in marks}
    adds_bos = fast.bos_token is not None and fast("a").input_ids[:1] == [fast.bos_token_id]
    chat = as_jinja(template, fast.bos_token if adds_bos else "", image)
    rows = -(-(max(len(fast), *(ids.values())) + 1) // 64) * 64
    config = hf_config(model, ids[DEFAULT_IMAGE_TOKEN], ids[VIDEO], rows)
    ends = stops_of(template.end_mark, tokenizer, model.generation_config)
    generation = {"bos_token_id": fast.bos_token_id, "pad_token_id": fast.pad_token_id, "eos_token_id": list(ends.ids)}
    processor = PROCESSORS[config.model_type] | {"patch_size": config.vision_config.patch_size}
    side = config.vision_config.image_size // config.vision_config.patch_size
    processor |= {"vision_feature_select_strategy": config.vision_feature_select_strategy}
    if config.model_type == "llava_onevision":
        processor |= {"num_image_tokens": side * side, "vision_aspect_ratio": config.vision_aspect_ratio}
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        state = hf_state(model, rows, config)
        save_torch_state_dict(state, place, max_shard_size="5GB", metadata={"format": "pt"})
        config.save_pretrained(place)
        fast.save_pretrained(place)
        for file in place.glob("*.safetensors"):
            file.chmod((place / "config.json").stat().st_mode)  # readable to whom the other files are
    except OSError as error:
        raise unwritable(folder, error) from error
    # As written and with no class that would build the merges anew.
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "padding_side": "left", "chat_template": chat}
    if isinstance(tokenizer, LlamaTokenizer):
        tokenizer.save_vocabulary(folder)
        settings |= sentencepiece_settings(tokenizer, fast)
    add_settings(str(place / "tokenizer_config.json"), settings)
    written = {
        "preprocessor_config.json": preprocessor(model, config),
        "processor_config.json": processor,
        "generation_config.json": generation | ({"stop_strings": list(ends.spelt)} if ends.spelt else {}),
        "chat_template.json": {"chat_template": chat},
    }
    for name, content in written.items():
        write_text(place / name, json.dumps(content, indent=2) + "\n")
    write_text(place / "chat_template.jinja", chat)


def sentencepiece_settings(tokenizer: LlamaTokenizer, fast: Any) -> dict[str, Any]:
    """What is read here beside `tokenizer.model`, which goes first: SentencePiece writes stray bytes its own way."""
    added = {
        str(number): {"content": token.content, "special": token.special, "normalized": token.normalized}
        for number, token in fast.added_tokens_decoder.items()
    }
    flags = ("legacy", "add_bos_token", "add_eos_token")
    return {name: getattr(tokenizer, name) for name in flags} | {"added_tokens_decoder": added}


def hf_state(model: Any, rows: int, config: Any) -> dict[str, torch.Tensor]:
    """The tensors of a model under this layout's names, with so many rows of vocabulary.

    A row that is added is the mean of all, so that a greedy answer never has its token.
    """
    state = {_named(name): tensor.detach() for name, tensor in whole_state(model).items()}
    if config.tie_word_embeddings:
        state.pop(ROWS[1], None)
    for name in ROWS:
        if name in state:
            table = state[name]
            mean = table.float().mean(dim=0, keepdim=True).to(table.dtype)
            state[name] = torch.cat([table[:rows], mean.expand(max(0, rows - len(table)), -1)])
    kind = state[ROWS[0]].dtype
    if config.model_type != "llava" and "image_newline" not in state:
        raise InputError("a model in tiles has a newline: got none; export one whose merge type is spatial_unpad")
    if config.vision_config.model_type == "siglip_vision_model":  # this project's tower ends before it
        width = config.vision_config.hidden_size
        for part, value in (("weight", torch.ones), ("bias", torch.zeros)):
            state.setdefault(f"vision_tower.vision_model.post_layernorm.{part}", value(width, dtype=kind))
    return {name: tensor.contiguous().clone() for name, tensor in state.items()}


def _named(name: str) -> str:
    for pattern, new in NAMES:
        renamed, found = re.subn(pattern, new, name)
        if found:
            return renamed
    raise InputError(f"a tensor must have a name in transformers' layout: got {shown(name)}; keep the original layout")


def check_exportable(model: Any) -> None:
    """Refuse weights that were quantised, whose tensors are no plain ones."""
    if getattr(model.config, "quantization_config", None) is not None:
        raise InputError("weights in 8 or 4 bits are not written in another layout: got such; export the whole ones")
