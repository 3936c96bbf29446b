"""One question at a time in float32, in bfloat16 and with 8-bit matrices: the same random model, timed in turn."""

import copy
from typing import Any

import torch

from llava.errors import InputError
from llava.eval.speed.clock import medians
from llava.eval.speed.latency import OneQuestion
from llava.eval.speed.random_model import Shape, random_model
from llava.eval.speed.tables import methods_for
from llava.model.language_model.llava_causal_lm import LlavaCausalLM

# How each is asked for on the command line; 8-bit matrices beside bfloat16 for everything else.
PRECISIONS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32"},
    "bfloat16": {"dtype": "bfloat16"},
    "8 bits": {"dtype": "bfloat16", "load_8bit": True},
}


def quantise(model: LlavaCausalLM) -> None:
    """Turn the matrices of the language model's layers into 8 bits, as the loader does.

    Raises:
        InputError: where bitsandbytes is not installed.
    """
    try:
        from bitsandbytes.nn import Int8Params, Linear8bitLt

        from llava.model.checkpoint.int8_on_cpu import multiply_by_torch
    except ImportError as error:
        raise InputError("8 bits need bitsandbytes: it is not installed; pip install 'visiondrop[quant]'") from error
    layers = model.get_model().layers
    for name, module in list(layers.named_modules()):
        if isinstance(module, torch.nn.Linear):
            held = Linear8bitLt(
                module.in_features, module.out_features, module.bias is not None, has_fp16_weights=False, device="meta"
            )
            held.weight, held.bias = Int8Params(module.weight.data, requires_grad=False).to("cpu"), module.bias
            layers.set_submodule(name, held)
    multiply_by_torch(layers)


def weight_bytes(model: LlavaCausalLM) -> int:
    """Of all that the model holds, the CLIP text tower beside it left out."""
    return sum(part.numel() * part.itemsize for part in model.parameters())


@torch.inference_mode()
def measure_bits(
    shape: Shape, names: list[str], retain: int, text_tokens: int, new_tokens: int, repeats: int, clock: str
) -> list[dict[str, Any]]:
    """A row for each precision under VisionDrop at a budget: encoder, prefill, new token, end to end, bytes of weights.

    All parts of all models are timed in turn, on the CPU.
    """
    asked, whole = {}, random_model(shape, "cpu", torch.float32)
    for name in names:
        model = copy.deepcopy(whole).to(getattr(torch, PRECISIONS[name]["dtype"])) if name != "float32" else whole
        if PRECISIONS[name].get("load_8bit"):
            quantise(model)
        asked[name] = OneQuestion(model, methods_for(model, [retain])[-1], text_tokens, new_tokens)
    parts = ("encoder", "prefill", "decode", "end_to_end")
    works = {f"{name} {part}": one.works()[part] for name, one in asked.items() for part in parts}
    times = medians(works, repeats, "cpu", clock)
    return [
        {
            "precision": name,
            "encoder_ms": 1e3 * times[f"{name} encoder"],
            "prefill_ms": 1e3 * times[f"{name} prefill"],
            "token_ms": 1e3 * times[f"{name} decode"] / new_tokens,
            "end_to_end_ms": 1e3 * times[f"{name} end_to_end"],
            "weight_bytes": weight_bytes(one.model),
        }
        for name, one in asked.items()
    ]


def bits_table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown; ratios are to the first."""
    columns = "precision | encoder ms | faster | prefill ms | faster | ms per token | faster | end to end ms | faster"
    lines, first = [f"| {columns} | weights |", "|---|" + "--:|" * 9], rows[0]
    for row in rows:
        cells = [row["precision"]]
        for part, digits in (("encoder_ms", 0), ("prefill_ms", 0), ("token_ms", 1), ("end_to_end_ms", 0)):
            cells += [f"{row[part]:.{digits}f}", f"{first[part] / row[part]:.1f}x"]
        lines.append(f"| {' | '.join(cells)} | {row['weight_bytes'] / 2**20:.0f} MiB |")
    return "\n".join(lines)
