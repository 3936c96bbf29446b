"""Train the small LLaVA from nothing, in five stages; started again, it goes on where it was stopped.

Captions, questions and questions alone are LLaVA's training, done by llava.train; the tower, the projector's alignment
and [CLS] are the recipe's own.

python -m playground.shapes.train --output playground/shapes/run
"""

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, set_seed

from llava.eval.runs.command import Parser, run
from llava.model import LlavaLlamaForCausalLM
from llava.model.builder import load_pretrained_model
from llava.model.tokenizer import LlamaTokenizer
from playground.shapes.check import accuracy, gathered_accuracy, held_out, tower_accuracy
from playground.shapes.cls_attention import Gathering
from playground.shapes.data import Maker, Samples, collate, described, matched, questioned
from playground.shapes.export import export
from playground.shapes.models import WORDS, Aligned, build_llava, fit_projector, round_weights
from playground.shapes.single_turn import AskedAlone, AskedCollator, asked_alone
from playground.shapes.stages import STAGES, Stage, run_llava_stage, run_stage
from playground.shapes.text import read_tokenizer, train_tokenizer
from playground.shapes.tower import TowerWithTeacher

Judge = Callable[[Any], dict[str, float]]


class Report(TrainerCallback):
    """Judges a model on held-out data every 100 steps, and keeps what was found."""

    def __init__(self, file: Path, judge: Judge, every: int = 100) -> None:
        self.file, self.judge, self.every = file, judge, every
        self.started = time.time()

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Trainer's hook."""
        if state.global_step % self.every and state.global_step != state.max_steps:
            return
        with torch.autocast(next(model.parameters()).device.type, torch.bfloat16):
            scores = self.judge(model)
        entry = {"step": state.global_step, "seconds": round(time.time() - self.started)}
        entry |= {key: round(value, 3) for key, value in scores.items()}
        with self.file.open("a") as log:
            log.write(json.dumps(entry) + "\n")


def stage_samples(stage: Stage, make: Maker, tokenizer: LlamaTokenizer, seed: int, number: int) -> Samples:
    """As many samples as a stage takes."""
    length, easy = stage.steps * stage.batch, stage.easy * stage.batch
    return Samples(make, tokenizer, length, seed, number, easy, stage.things, stage.easy_things)


def unseen_batch(stage: Stage, tokenizer: LlamaTokenizer, seed: int) -> dict[str, Any]:
    """One batch of a stage's size that no training sees, to judge the tower on."""
    samples = Samples(matched, tokenizer, stage.batch, seed, split="validation")
    return collate([samples[number] for number in range(stage.batch)])


def train_tower(stage: Stage, folder: Path, tokenizer: LlamaTokenizer, seed: int, **settings: Any) -> TowerWithTeacher:
    """Stage 1."""
    set_seed(seed)
    model = TowerWithTeacher()
    samples = stage_samples(stage, matched, tokenizer, seed, number=0)
    batch = unseen_batch(stage, tokenizer, seed)
    report = Report(folder / f"{stage.name}.held_out.jsonl", lambda model: tower_accuracy(model, batch))
    log = run_stage(stage, model, samples, folder / stage.name, [report], **settings)
    (folder / f"{stage.name}.json").write_text(json.dumps(log))
    return model


def align(stage: Stage, model: LlavaLlamaForCausalLM, folder: Path, tokenizer: LlamaTokenizer, seed: int) -> None:
    """The first half of stage 2: the projector alone, on words."""
    words = [tokenizer(word, add_special_tokens=False).input_ids for word in WORDS]
    assert all(len(ids) == 1 for ids in words), "every word is one token"
    samples = stage_samples(stage, matched, tokenizer, seed, number=3)
    fit_projector(model, collate([samples[number] for number in range(stage.batch)])["images"])
    log = run_stage(stage, Aligned(model, [ids[0] for ids in words]), samples, folder / stage.name, [])
    (folder / f"{stage.name}.json").write_text(json.dumps(log))


def train_llava(
    stages: Sequence[Stage], folder: Path, tokenizer: LlamaTokenizer, tower: TowerWithTeacher, seed: int
) -> LlavaLlamaForCausalLM:
    """Stages 2 and 3: projector, captions, questions."""
    set_seed(seed + 1)
    vision = tower.clip.vision_model
    model = build_llava(vision.config)
    model.model.vision_tower.vision_tower.load_state_dict(vision.state_dict())
    align(stages[0], model, folder, tokenizer, seed)
    held, last = held_out(tokenizer, pictures=60), stages[-1].name
    report = Report(folder / f"{last}.held_out.jsonl", lambda called: accuracy(called.llava, held))
    for number, (stage, make) in enumerate(zip(stages[1:], (described, questioned)), start=1):
        samples = stage_samples(stage, make, tokenizer, seed, number)
        # No answer was taught before the questions, so there is nothing to judge.
        judged = [report] if make is questioned else []
        log = run_llava_stage(stage, model, samples, folder / stage.name, judged, tokenizer)
        (folder / f"{stage.name}.json").write_text(json.dumps(log))
    return model


def gather(
    stage: Stage, model: LlavaLlamaForCausalLM, folder: Path, tokenizer: LlamaTokenizer, seed: int
) -> LlavaLlamaForCausalLM:
    """Stage 4: [CLS]."""
    set_seed(seed + 2)
    gathering = Gathering(model)
    batch = unseen_batch(stage, tokenizer, seed)
    report = Report(folder / f"{stage.name}.held_out.jsonl", lambda model: gathered_accuracy(model, batch))
    samples = stage_samples(stage, matched, tokenizer, seed, number=4)
    log = run_stage(stage, gathering, samples, folder / stage.name, [report])
    (folder / f"{stage.name}.json").write_text(json.dumps(log))
    return gathering.llava


def answer_alone(
    stage: Stage, model: LlavaLlamaForCausalLM, folder: Path, tokenizer: LlamaTokenizer, seed: int
) -> LlavaLlamaForCausalLM:
    """Stage 5: questions again, each alone."""
    set_seed(seed + 3)
    round_weights(model)
    held = held_out(tokenizer, pictures=60)
    report = Report(folder / f"{stage.name}.held_out.jsonl", lambda called: accuracy(called.llava, held))
    samples = stage_samples(stage, asked_alone, tokenizer, seed, number=5)
    place = folder / stage.name
    alone = {"model": AskedAlone(model), "collator": AskedCollator}
    log = run_llava_stage(stage, model, samples, place, [report], tokenizer, **alone)
    (folder / f"{stage.name}.json").write_text(json.dumps(log))
    return model


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m playground.shapes.train", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", default="playground/shapes/run", help="folder of checkpoints and logs")
    parser.add_argument("--seed", type=int, default=0, help="of weights and data")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--gather-only", metavar="MODEL", help="only the stage gather, on this checkpoint")
    only.add_argument("--alone-only", metavar="MODEL", help="only the last stage, on this checkpoint")
    for stage in STAGES:
        parser.add_argument(f"--{stage.name}-steps", type=int, default=stage.steps, help=f"steps of stage {stage.name}")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    folder = Path(args.output)
    if not (folder / "tokenizer.model").is_file():
        train_tokenizer(folder, args.seed)
    tokenizer = read_tokenizer(folder)
    first, *rest, cls, last = (
        dataclasses.replace(stage, steps=getattr(args, f"{stage.name}_steps")) for stage in STAGES
    )
    begin = args.gather_only or args.alone_only
    if begin:
        model = load_pretrained_model(begin, None, "llava-shapes", device="cpu")[1].float()
    else:
        tower = train_tower(first, folder, tokenizer, args.seed)
        model = train_llava(rest, folder, tokenizer, tower, args.seed)
    if not args.alone_only:
        model = gather(cls, model, folder, tokenizer, args.seed)
    if not args.gather_only:
        model = answer_alone(last, model, folder, tokenizer, args.seed)
    export(model, folder / "tokenizer.model", folder / "llava-shapes")


if __name__ == "__main__":
    run(main)
