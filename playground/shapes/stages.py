"""The stages as numbers, and what one of them does: transformers' Trainer over samples in their order."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from playground.shapes.data import collate


@dataclass(frozen=True)
class Stage:
    """How long and how fast a stage learns.

    Attributes:
        easy: that many steps at the start show `easy_things`, fewest and most; the others show `things`.
        slower: learning rate of the projector as a share of `rate`; 0: it is frozen.
        decay: share of the steps at the end over which the rate falls to zero; before that it is constant.
    """

    name: str
    steps: int
    batch: int
    rate: float
    easy: int = 0
    easy_things: tuple[int, int] = (1, 3)
    things: tuple[int, int] = (2, 6)
    slower: float = 1.0
    warmup: int = 50
    decay: float = 0.25


STAGES = (
    Stage("tower", steps=900, batch=32, rate=1.5e-3, things=(3, 9), decay=0.3),
    Stage("projector", steps=300, batch=32, rate=2e-3),
    Stage("captions", steps=400, batch=16, rate=1e-3, easy=30, things=(2, 8), slower=0.0, decay=0.1),
    Stage("questions", steps=1800, batch=16, rate=1e-3, slower=0.05, decay=0.6),
    Stage("gather", steps=600, batch=32, rate=1e-3, decay=0.3),
    Stage("alone", steps=800, batch=16, rate=6e-4, slower=0.05, decay=0.75),
)


class InOrder(Trainer):
    """Trainer that takes the samples as they come: they are random already, and the easy ones are first."""

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


def run_stage(
    stage: Stage,
    model: nn.Module,
    samples: Dataset,
    folder: Path,
    callbacks: list[TrainerCallback],
    save_every: int = 100,
    stop_at: int | None = None,
) -> list[dict[str, float]]:
    """Train; goes on from the last checkpoint in `folder`, if there is one, as if it had never stopped.

    Args:
        stop_at: stop after this many steps (for tests of the above); None: go to the end.

    Returns:
        the log: one entry per ten steps with `step` and `loss`.
    """
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=stage.steps,
        per_device_train_batch_size=stage.batch,
        learning_rate=stage.rate,
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={"num_decay_steps": int(stage.decay * stage.steps)},
        warmup_steps=min(stage.warmup, stage.steps // 4),
        max_grad_norm=1.0,
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        dataloader_num_workers=0,
        logging_steps=10,
        save_steps=save_every,
        save_total_limit=2,
        report_to=[],
        remove_unused_columns=False,
        label_names=["labels"],
    )
    if stop_at is not None:
        callbacks = [*callbacks, StopAt(stop_at)]
    trainer = InOrder(
        model=model,
        args=arguments,
        train_dataset=samples,
        data_collator=collate,
        optimizers=(make_optimizer(model, stage), None),
        callbacks=callbacks,
    )
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(folder)) if folder.is_dir() else None)
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def make_optimizer(model: nn.Module, stage: Stage) -> torch.optim.Optimizer:
    """AdamW; matrices decay, norms and biases do not, the projector learns slower where the stage says so."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            groups.setdefault(("mm_projector" in name, weight.ndim > 1), []).append(weight)
    return torch.optim.AdamW(
        [
            {
                "params": weights,
                "lr": stage.rate * (stage.slower if projects and stage.slower else 1),
                "weight_decay": 0.05 * matrix,
            }
            for (projects, matrix), weights in groups.items()
        ],
        betas=(0.9, 0.98),
    )


class StopAt(TrainerCallback):
    """Ends a stage early, after a checkpoint."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Trainer's hook."""
        if state.global_step >= self.step:
            control.should_save = control.should_training_stop = True
        return control
