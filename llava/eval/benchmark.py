"""Measure what fewer image tokens save: encoder, prefill, decoding, KV cache and counted FLOPs.

    python -m llava.eval.benchmark --json figures/latency_cpu.json

A model with random weights is enough for that: cost does not depend on what weights say. Times are medians of one run
on one machine; compare rows, not runs.
"""

import argparse
import dataclasses
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

from llava.eval.bench_model import Shape, machine, prompt_ids, random_model, seconds
from llava.eval.command import Parser, at_least, run
from llava.eval.options import DTYPES, device_from
from llava.eval.reporting import in_flops
from llava.model.evidence import LlamaEvidence
from llava.model.language_model.llava_llama import LlavaLlamaForCausalLM
from llava.model.layout import Layout, splice
from llava.model.staged_cache import StagedCache
from llava.model.trace import Trace
from llava.reduction import Reduction, method_class, name_of
from llava.reduction.schedule import DecoderShape, average_tokens, prefill_flops


def measure(
    model: LlavaLlamaForCausalLM, method: Reduction, text_tokens: int, new_tokens: int, repeats: int
) -> dict[str, Any]:
    """One row of the table: a single question about a single picture, under one method.

    Returns:
        average image tokens per layer; milliseconds of the encoder (with its part of the method), of the LLM's prefill
        (with the drops), of one decoded token; `reduction_ms`, the drops alone; KV cache bytes after the prefill and
        what they must be by the counts; FLOPs of the prefill by the counts.
    """
    device, geometry = model.device.type, model.geometry
    pixels = torch.randn(1, 3, *[model.get_vision_tower().config.image_size] * 2, device=model.device)
    ids = prompt_ids(text_tokens, model.config.vocab_size, device)
    trace = Trace()
    embeds, plan = model.prepare_inputs(ids, images=pixels, reduction=method, trace=trace)

    def prefill() -> StagedCache:
        cache = StagedCache(model.config)
        model(inputs_embeds=embeds, layout=plan.layout.to_tensor(), past_key_values=cache, reduction=method,
              use_cache=True, logits_to_keep=1)  # fmt: skip
        return cache

    def decode(cache: StagedCache) -> None:
        for _ in range(new_tokens):
            model(input_ids=ids[:, :1], past_key_values=cache, reduction=method, use_cache=True)

    model(inputs_embeds=embeds, layout=plan.layout.to_tensor(), reduction=method, trace=trace, use_cache=False)
    prefill_time = seconds(prefill, repeats, device)
    both = seconds(lambda: decode(prefill()), max(1, repeats // 2), device)
    cache = prefill()
    tokens = [stage.width for stage in [plan.layout, *(stage.after for stage in trace.stages)]]
    runs = [stop - first for first, stop in ((stage.first, stage.stop) for stage in cache.stages)]
    one = 2 * model.config.num_key_value_heads * model.model.layers[0].self_attn.head_dim * embeds.element_size()
    return {
        "method": name_of(method),
        "tokens": average_tokens(method, geometry),
        "encoder_ms": 1e3 * seconds(lambda: model.encode_images([pixels], None, method), repeats, device),
        "prefill_ms": 1e3 * prefill_time,
        "token_ms": 1e3 * max(0.0, both - prefill_time) / new_tokens,
        "reduction_ms": 1e3 * seconds(lambda: _drops(model, method, trace), repeats, device) if trace.stages else 0.0,
        "kv_bytes": cache.nbytes(),
        "kv_bytes_by_count": one * sum(count * layers for count, layers in zip(tokens, runs)),
        "prefill_flops": prefill_flops(DecoderShape.of(model.config), method, geometry, text_tokens),
    }


def _drops(model: LlavaLlamaForCausalLM, method: Reduction, trace: Trace) -> None:
    """Do again, alone, what the reductions of a recorded prefill did."""
    for number, stage in enumerate(trace.stages):
        positions = torch.arange(stage.before.width, device=model.device)[None]
        rotary = model.model.rotary_emb(stage.entering, position_ids=positions)
        evidence = LlamaEvidence(model.model.layers[stage.layer], stage.entering, stage.before, rotary)
        splice(stage.entering, Layout(stage.before.lengths, stage.before.spans), method.at_layer(number, evidence))


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown; ratios are to the first row."""
    columns = "method | tokens | encoder ms | prefill ms | faster | drops | ms per token | KV cache | FLOPs | fewer"
    lines = [f"| {columns} |", "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    first = rows[0]
    for row in rows:
        lines.append(
            f"| {row['method']} | {row['tokens']:.0f} | {row['encoder_ms']:.0f} | {row['prefill_ms']:.0f} "
            f"| {first['prefill_ms'] / row['prefill_ms']:.1f}x | {100 * row['reduction_ms'] / row['prefill_ms']:.1f} % "
            f"| {row['token_ms']:.1f} | {row['kv_bytes'] / 2**20:.1f} MiB | {in_flops(row['prefill_flops'])} "
            f"| {first['prefill_flops'] / row['prefill_flops']:.1f}x |"
        )
    return "\n".join(lines)


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="python -m llava.eval.benchmark", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", default="auto", choices=("auto", "cuda", "mps", "cpu"), help="where to compute")
    parser.add_argument("--dtype", default="auto", choices=tuple(DTYPES), help="auto: float16, or float32 on a CPU")
    parser.add_argument(
        "--retain", type=at_least(1), nargs="*", default=[192, 128, 64, 32], help="VisionDrop's budgets"
    )
    parser.add_argument("--text-tokens", type=at_least(1), default=55, help="prompt tokens besides the image")
    parser.add_argument("--new-tokens", type=at_least(1), default=16, help="decoded tokens")
    parser.add_argument("--repeats", type=at_least(1), default=5, help="runs a median is taken of")
    parser.add_argument("--json", help="also write the rows, the machine and the command here")
    for size in dataclasses.fields(Shape):
        parser.add_argument(
            f"--{size.name.replace('_', '-')}", type=at_least(1), default=size.default, help="model size"
        )
    return parser


@torch.inference_mode()
def measure_all(args: argparse.Namespace) -> dict[str, Any]:
    """All rows of the table, with the machine, the shape and the command."""
    device = device_from(args)
    dtype = DTYPES[args.dtype] or (torch.float32 if device == "cpu" else torch.float16)
    shape = Shape(**{size.name: getattr(args, size.name) for size in dataclasses.fields(Shape)})
    model = random_model(shape, device, dtype)
    methods = [method_class("none")()]
    methods += [method_class("visiondrop").from_budget(retain, model.geometry) for retain in args.retain]
    for method in methods:
        method.check(model.geometry)
    rows = [measure(model, method, args.text_tokens, args.new_tokens, args.repeats) for method in methods]
    command = "python -m llava.eval.benchmark " + shlex.join(sys.argv[1:])
    parameters = sum(parameter.numel() for parameter in model.model.layers.parameters())
    return {
        "machine": machine(),
        "command": command.strip(),
        "dtype": str(dtype).removeprefix("torch."),
        "shape": dataclasses.asdict(shape),
        "llm_parameters": parameters,
        "rows": rows,
    }


def main() -> None:
    """The command."""
    args = build_parser().parse_args()
    result = measure_all(args)
    shape = result["shape"]
    print(
        f"{result['machine']}; {result['dtype']}\n"
        f"LLM {shape['layers']} layers x {shape['width']} ({result['llm_parameters'] / 1e6:.0f} M parameters), CLIP "
        f"{shape['vision_layers']} layers x {shape['vision_width']}, {args.text_tokens} text tokens, random weights\n"
    )
    print(table(result["rows"]))
    if args.json:
        Path(args.json).parent.mkdir(parents=True, exist_ok=True)
        Path(args.json).write_text(json.dumps(result, indent=1) + "\n")
        print(f"\nwritten to {args.json}")


if __name__ == "__main__":
    run(main)
