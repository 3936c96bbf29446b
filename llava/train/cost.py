"""What training costs with each method: steps per second and peak memory, on random weights.

    python -m llava.train.cost --retain 64

A step is a forward and a backward pass over a batch of pictures with an answer, and the optimiser's step. One process
for each thing that is trained steps with every method in turn, so that all meet the machine in the same state and
ratios hold on one in use; a method's time is its median. Peak memory comes from a process for each row. Ratios are to
`none`; operations are counted for the language model's layers, forward and backward alike.
"""

import dataclasses
import json
import resource
import subprocess
import sys
from typing import Any

import torch
from torch.utils.data import default_collate

from llava.constants import IGNORE_INDEX
from llava.errors import InputError
from llava.eval.method_cost import at_budget
from llava.eval.runs.command import Parser, at_least, run
from llava.eval.runs.options import DTYPES, device_from
from llava.eval.speed.clock import Work, medians
from llava.eval.speed.flops import count
from llava.eval.speed.options import add_size_options, shape_from
from llava.eval.speed.random_model import Shape, machine, prompt_ids, random_model
from llava.files.reading import parse_json
from llava.reduction import Reduction, available, name_of
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
    add_size_options(parser)
    parser.add_argument("--json", choices=("seconds", "bytes"), help="measure one thing and print JSON (for the table)")
    return parser


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A model of a mode with its optimiser, its batch and the methods that take turns."""

    llava: Any
    model: Any
    optimizer: torch.optim.Optimizer
    batch: dict[str, Any]
    methods: list[Reduction]

    def step(self, method: Reduction) -> None:
        """One step under a method."""
        self.llava.reduction = method
        self.model(**self.batch).loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def prepare(args: Any, mode: str) -> Prepared:
    """The random model that the options ask for, with what `mode` trains of it."""
    device, dtype = device_from(args), DTYPES[args.dtype] or torch.float32
    llava = random_model(shape_from(args), device, dtype).train()
    methods, unreached = at_budget(args.methods, args.retain, llava.geometry)
    if unreached:
        raise InputError(unreached[0])
    model: Any = llava
    llava.get_vision_tower().requires_grad_(False)
    if mode == "lora":
        model = with_lora(llava, _Lora())
        llava.get_model().mm_projector.requires_grad_(True)
    elif mode == "projector":
        llava.requires_grad_(False)
        llava.get_model().mm_projector.requires_grad_(True)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    return Prepared(llava, model, optimizer, _batch(args, shape_from(args), device), methods)


def measure_seconds(args: Any, mode: str) -> dict[str, Any]:
    """The machine, and of every method the median seconds of a step and the operations that are counted."""
    prepared = prepare(args, mode)
    device = prepared.llava.device.type
    works = {name_of(method): Work(lambda _, method=method: prepared.step(method)) for method in prepared.methods}
    seconds = medians(works, args.steps, device, "wall")
    # No question and nothing decoded: the prompt's layers alone.
    flops = [count(prepared.llava, method, args.text_tokens, 0, 1).prefix for method in prepared.methods]
    return {"machine": machine(device), "seconds": list(seconds.values()), "flops": flops}


def measure_bytes(args: Any, mode: str) -> int:
    """Peak bytes of this process, or of its device, over two steps under one method."""
    prepared = prepare(args, mode)
    for _ in range(2):
        prepared.step(prepared.methods[0])
    if prepared.llava.device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class _Lora:
    """LLaVA-1.5's LoRA."""

    lora_r, lora_alpha, lora_dropout, lora_bias, lora_qv_proj_only = 128, 256, 0.05, "none", False


def _batch(args: Any, shape: Shape, device: str) -> dict[str, Any]:
    ids = prompt_ids(args.text_tokens, shape.vocabulary, device)
    labels = torch.full_like(ids, IGNORE_INDEX)
    labels[:, -ANSWER:] = ids[:, -ANSWER:]
    one = {"input_ids": ids[0], "labels": labels[0], "images": torch.randn(3, shape.image_size, shape.image_size)}
    made = default_collate([one] * args.batch)
    dtype = DTYPES[args.dtype] or torch.float32
    return made | {"images": made["images"].to(device, dtype), "use_cache": False}


def table(rows: dict[tuple[str, str], dict[str, Any]]) -> str:
    """Markdown: every row by itself and beside `none` of its mode, or the first method of it."""
    head = ["trained", "method", "steps per second", "faster", "LLM operations", "peak memory", "of it"]
    lines = ["| " + " | ".join(head) + " |", "|---|---|--:|--:|--:|--:|--:|"]
    for (mode, name), row in rows.items():
        base = rows.get((mode, "none")) or next(other for (own, _), other in rows.items() if own == mode)
        faster, memory = base["seconds"] / row["seconds"], row["bytes"] / base["bytes"]
        fewer = row["flops"] / base["flops"]
        lines.append(
            f"| {mode} | {name} | {1 / row['seconds']:.3g} | {faster:.2f}x | {fewer:.2f}x | "
            f"{row['bytes'] / 2**30:.2f} GiB | {memory:.2f}x |"
        )
    return "\n".join(lines)


def _in_a_process(what: str, mode: str, methods: list[str]) -> Any:
    one = [sys.executable, "-m", "llava.train.cost", *sys.argv[1:], "--json", what, "--modes", mode]
    ended = subprocess.run([*one, "--methods", *methods], capture_output=True, text=True)
    if ended.returncode:
        said = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
        raise InputError(f"{mode} with {', '.join(methods)} ended early: {said[-1]}")
    return parse_json(ended.stdout.strip().splitlines()[-1], "a measurement", "the command's own output")


def main() -> None:
    """The command."""
    args = build_parser().parse_args()
    if args.json:
        [mode] = args.modes
        print(json.dumps(measure_seconds(args, mode) if args.json == "seconds" else measure_bytes(args, mode)))
        return
    rows, about = {}, ""
    for mode in args.modes:
        timed = _in_a_process("seconds", mode, args.methods)
        about = timed["machine"]
        for name, seconds, flops in zip(args.methods, timed["seconds"], timed["flops"], strict=True):
            peak = _in_a_process("bytes", mode, [name])
            rows[mode, name] = {"seconds": seconds, "flops": flops, "bytes": peak}
    shape = shape_from(args)
    about += f"; {args.dtype}, LLM {shape.layers} layers x {shape.width}, CLIP {shape.vision_layers} layers x "
    about += f"{shape.vision_width}, {args.batch} pictures and {args.text_tokens} text tokens each, random weights"
    print(f"{about}\n\n{table(rows)}")


if __name__ == "__main__":
    run(main)
