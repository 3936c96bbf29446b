"""How much a device can hold: free bytes, bytes of a question, and what running out of them looks like."""

from typing import Any

import psutil
import torch

from llava.eval.runs import control_group
from llava.model.language_model.shared_attention import SCORES_AT_ONCE
from llava.reduction import Geometry, Reduction
from llava.reduction.schedule import layers_per_stage

# Rows of a batch beyond which throughput no longer grows: a CPU is busy long before a GPU is.
MOST_ROWS = {"cpu": 32}
MOST_ROWS_OF_A_GPU = 64
SCORE_BYTES = 12  # that the kernel `shared_prefix` has of one score: in float32, its exponential, and that cast


def free_bytes(device: torch.device, share: int = 1) -> int:
    """Memory that is free now for one of `share` runs that use the device together.

    On a CPU it is what the machine, and the container or batch job, can give without swapping: files that it merely
    remembers make way.
    """
    return _free_now(device) // share


def _free_now(device: torch.device) -> int:
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    # Weights that lie mapped from a checkpoint's file count among what makes way, too; this process is using them.
    mapped = getattr(psutil.Process().memory_info(), "shared", 0)
    free, allowed = psutil.virtual_memory().available, control_group.room()
    return max(0, (free if allowed is None else min(free, allowed)) - mapped)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that an allocation failed, Python's or torch's; most of torch's have no class of theirs."""
    signs = ("can't allocate memory", "out of memory", "ALLOC_FAILED", "Cannot allocate memory")
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or (isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs))


def token_bytes(model: Any) -> int:
    """Bytes of one token's keys and values in one layer of the LLM."""
    config = model.config.get_text_config(decoder=True)
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * config.num_key_value_heads * head * model.dtype.itemsize


def cache_bytes(model: Any, method: Reduction, geometry: Geometry, text_tokens: int) -> int:
    """Bytes of the KV cache of one image of the most views and `text_tokens` of text, by the counts of each stage."""
    stages = zip(layers_per_stage(method, geometry.layers), method.tokens_per_stage(geometry))
    return token_bytes(model) * sum(layers * (text_tokens + tokens) for layers, tokens in stages)


def rows_of(size: int, device: torch.device, free: int, once: int = 0) -> int:
    """How many rows of `size` bytes to take at once of `free` bytes: no more than pay, at least 1.

    Args:
        once: bytes that are taken besides, however many rows there are.
    """
    most = MOST_ROWS.get(device.type, MOST_ROWS_OF_A_GPU)
    return max(1, min(most, (int(0.8 * free) - once) // size))


def rows_that_fit(
    model: Any, method: Reduction, geometry: Geometry, text_tokens: int, new_tokens: int, beams: int, free: int
) -> int:
    """A first guess at how many questions fit into `free` bytes at once; at least 1.

    A row needs its KV cache twice (its own and, at worst, its image's prefix), the widest activations of one layer over
    its prompt, its logits, and the encoder's activations over one image.
    """
    cache = cache_bytes(model, method, geometry, text_tokens + new_tokens) * (1 + beams)
    layer = _layer_bytes(model, text_tokens + method.tokens_per_stage(geometry)[0])
    return rows_of(cache + layer + _encoder_bytes(model, geometry) + beams * _logits_bytes(model), model.device, free)


def rows_of_one_picture(
    model: Any, method: Reduction, geometry: Geometry, text_tokens: int, new_tokens: int, free: int
) -> int:
    """The same for questions about one picture whose rows read its prefix where it lies (the kernel `shared_prefix`).

    Once for all rows there are the prefix, what it takes to make it, and the scores of queries against it, of which the
    kernel holds no more than a piece. A row needs the keys and values of its own tokens, a layer's activations and
    scores over them, and its logits.
    """
    prompt = text_tokens + method.tokens_per_stage(geometry)[0]
    once = cache_bytes(model, method, geometry, text_tokens) + _layer_bytes(model, prompt)
    once += _encoder_bytes(model, geometry)
    heads = model.config.num_attention_heads
    row = token_bytes(model) * geometry.layers * (text_tokens + new_tokens) + _layer_bytes(model, text_tokens)
    row += SCORE_BYTES * heads * text_tokens**2 + _logits_bytes(model)
    scores, most = SCORE_BYTES * heads * text_tokens * prompt, SCORE_BYTES * SCORES_AT_ONCE  # of a row, of all
    return max(rows_of(row + scores, model.device, free, once), rows_of(row, model.device, free, once + most))


def _layer_bytes(model: Any, tokens: int) -> int:
    """The widest activations of one decoder layer."""
    return tokens * (8 * model.config.hidden_size + 3 * model.config.intermediate_size) * model.dtype.itemsize


def _encoder_bytes(model: Any, geometry: Geometry) -> int:
    """The encoder's widest activations over one image."""
    tower, passes = model.get_vision_tower().config, model.get_vision_tower().passes
    each = (8 * tower.hidden_size + 2 * tower.intermediate_size) * model.dtype.itemsize
    return geometry.views * passes * geometry.patches * each


def _logits_bytes(model: Any) -> int:
    """Of one row's newest token, in the model's numbers and in float32."""
    return model.config.vocab_size * (model.dtype.itemsize + 4)
