"""What training costs with each method: steps per second and peak memory, on random weights.

    python -m llava.train.cost --retain 64

Every row is a process of its own, so that its peak memory is its own. A step is a forward and a backward pass over a
batch of pictures with an answer, and the optimiser's step. Ratios are to `none` in the same run; operations are counted
for the language model's layers, forward and backward alike.
"""

import dataclasses
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

import torch
from torch.utils.data import default_collate

from llava.constants import IGNORE_INDEX
from llava.errors import InputError
from llava.eval.method_cost import at_budget
from llava.eval.runs.command import Parser, at_least, run
from llava.eval.runs.options import DTYPES, device_from
from llava.eval.speed.flops import count
from llava.eval.speed.random_model import PRESETS, machine, prompt_ids, random_model
from llava.files.reading import parse_json
from llava.reduction import available
from llava.train.modules import with_lora

MODES = ("full", "lora", "projector")
METHODS = ("none", "visionzip", "visiondrop", "pyramiddrop")
ANSWER = 20  # tokens of a prompt's end that are trained on


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="python -m llava.train.cost", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", default="auto", choices=("auto", "cuda", "mps", "cpu"), help="where to compute")
    parser.add_argument("--dtype", default="float32", choices=[name for name in DTYPES if name != "auto"], help="dtype")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=available(), help="what to compare")
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=MODES, help="what is trained")
    parser.add_argument("--retain", type=at_least(1), default=64, help="average image tokens per LLM layer")
    parser.add_argument("--batch", type=at_least(1), default=2, help="pictures of a step")
    parser.add_argument("--text-tokens", type=at_least(ANSWER + 2), default=80, help="prompt tokens beside the image")
    parser.add_argument("--steps", type=at_least(1), default=3, help="steps a median is taken of, after one more")
    parser.add_argument("--preset", default="small", choices=tuple(PRESETS), help="model size")
    for size in ("layers", "width", "intermediate", "heads"):
        parser.add_argument(f"--{size}", type=at_least(1), help="of the language model, over the preset")
    parser.add_argument("--json", action="store_true", help="print one row as JSON (what the table is made of)")
    return parser


def measure(args: Any, mode: str, name: str) -> dict[str, Any]:
    """One row: median seconds of a step and peak bytes of this process, or of the device."""
    device = device_from(args)
    sizes = {key: getattr(args, key) for key in ("layers", "width", "intermediate", "heads") if getattr(args, key)}
    shape = dataclasses.replace(PRESETS[args.preset], **sizes)
    llava = random_model(shape, device, DTYPES[args.dtype] or torch.float32).train()
    methods, unreached = at_budget([name], args.retain, llava.geometry)
    if unreached:
        raise InputError(unreached[0])
    [llava.reduction] = methods
    model: Any = llava
    llava.get_vision_tower().requires_grad_(False)
    if mode == "lora":
        model = with_lora(llava, _Lora())
        llava.get_model().mm_projector.requires_grad_(True)
    elif mode == "projector":
        llava.requires_grad_(False)
        llava.get_model().mm_projector.requires_grad_(True)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    batch = _batch(args, shape, device)
    seconds = []
    for _ in range(1 + args.steps):
        began = time.perf_counter()
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated()
    flops = count(llava, llava.reduction, args.text_tokens, 0, 1).prefix  # no question, nothing decoded
    return {"seconds": statistics.median(seconds[1:]), "bytes": peak, "flops": flops, "machine": machine(device)}


class _Lora:
    """LLaVA-1.5's LoRA."""

    lora_r, lora_alpha, lora_dropout, lora_bias, lora_qv_proj_only = 128, 256, 0.05, "none", False


def _batch(args: Any, shape: Any, device: str) -> dict[str, Any]:
    ids = prompt_ids(args.text_tokens, shape.vocabulary, device)
    labels = torch.full_like(ids, IGNORE_INDEX)
    labels[:, -ANSWER:] = ids[:, -ANSWER:]
    one = {"input_ids": ids[0], "labels": labels[0], "images": torch.randn(3, shape.image_size, shape.image_size)}
    made = default_collate([one] * args.batch)
    dtype = DTYPES[args.dtype] or torch.float32
    return made | {"images": made["images"].to(device, dtype), "use_cache": False}


def table(rows: dict[tuple[str, str], dict[str, Any]]) -> str:
    """Markdown: every row beside `none` of its mode, or the first method of it."""
    lines = ["| trained | method | steps per second | LLM operations | peak memory |", "|---|---|--:|--:|--:|"]
    for (mode, name), row in rows.items():
        base = rows.get((mode, "none")) or next(other for (own, _), other in rows.items() if own == mode)
        cells = f"{base['seconds'] / row['seconds']:.2f}x | {row['flops'] / base['flops']:.2f}x"
        lines.append(f"| {mode} | {name} | {cells} | {row['bytes'] / base['bytes']:.2f}x |")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    args = build_parser().parse_args()
    if args.json:
        print(json.dumps(measure(args, args.modes[0], args.methods[0])))
        return
    rows = {}
    for mode in args.modes:
        for name in args.methods:
            one = [sys.executable, "-m", "llava.train.cost", *sys.argv[1:], "--json", "--modes", mode]
            ended = subprocess.run([*one, "--methods", name], capture_output=True, text=True)
            if ended.returncode:
                raise InputError(f"{mode} with {name} ended early: {ended.stderr.strip().splitlines()[-1]}")
            rows[mode, name] = parse_json(ended.stdout.strip().splitlines()[-1], "a row", "the command's own output")
    print(next(iter(rows.values()))["machine"])
    print(f"\n{table(rows)}")


if __name__ == "__main__":
    run(main)
