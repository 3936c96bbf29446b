"""The stages as numbers, and how one is run: by llava.train where it trains a LLaVA on text, else by plain Trainer.

Samples come in their order: they are random already, and the easy ones are first.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from llava.model import LlavaLlamaForCausalLM
from llava.model.tokenizer import LlamaTokenizer
from llava.train import arguments as llava_arguments
from llava.train.data.dataset import DataCollatorForSupervisedDataset
from llava.train.llava_trainer import LLaVATrainer
from llava.train.modules import choose_trained
from llava.train.saving import last_checkpoint, mode_of
from playground.shapes.data import collate
from playground.shapes.models import Unmasked

WEIGHT_DECAY, BETAS = 0.05, (0.9, 0.98)


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


def settings(stage: Stage, folder: Path, save_every: int) -> dict[str, Any]:
    """What the trainer's arguments say of a stage, whoever's trainer it is."""
    return {
        "output_dir": str(folder),
        "max_steps": stage.steps,
        "per_device_train_batch_size": stage.batch,
        "train_sampling_strategy": "sequential",
        "learning_rate": stage.rate,
        "lr_scheduler_type": "warmup_stable_decay",
        "lr_scheduler_kwargs": {"num_decay_steps": int(stage.decay * stage.steps)},
        "warmup_steps": min(stage.warmup, stage.steps // 4),
        "weight_decay": WEIGHT_DECAY,
        "adam_beta1": BETAS[0],
        "adam_beta2": BETAS[1],
        "max_grad_norm": 1.0,
        "bf16": True,
        "use_cpu": not torch.cuda.is_available(),
        "dataloader_num_workers": 0,
        "logging_steps": 10,
        "save_steps": save_every,
        "save_total_limit": 2,
        "report_to": [],
        "remove_unused_columns": False,
    }


def run_stage(
    stage: Stage,
    model: nn.Module,
    samples: Dataset,
    folder: Path,
    callbacks: list[TrainerCallback],
    save_every: int = 100,
) -> list[dict[str, float]]:
    """Train what llava.train has no place for; goes on from the last checkpoint in `folder`, if there is one.

    Args:
        model: its forward gives a dict with `loss`; it is the recipe's own, see `tower`, `models` and `cls_attention`.

    Returns:
        the log: one entry per ten steps with `step` and `loss`.
    """
    trainer = Trainer(
        model=model,
        args=TrainingArguments(**settings(stage, folder, save_every), label_names=["labels"]),
        train_dataset=samples,
        data_collator=collate,
        optimizers=(make_optimizer(model, stage), None),
        callbacks=callbacks,
    )
    return _trained(trainer, folder)


def run_llava_stage(
    stage: Stage,
    llava: LlavaLlamaForCausalLM,
    samples: Dataset,
    folder: Path,
    callbacks: list[TrainerCallback],
    tokenizer: LlamaTokenizer,
    save_every: int = 100,
    model: nn.Module | None = None,
    collator: type[DataCollatorForSupervisedDataset] = DataCollatorForSupervisedDataset,
) -> list[dict[str, float]]:
    """Train a LLaVA as `python -m llava.train.train` does: its arguments, its choice of weights, its trainer.

    Two things differ from that command. Samples are made when they are asked for, so there is no file to judge. And
    weights stay in float32 and are computed with under autocast, where the command's `--bf16` keeps them in bfloat16,
    which is for finished language models: from nothing, steps would be lost in rounding.

    Args:
        samples: with `input_ids`, `labels`, `image` and `image_size`, as those of llava.train's own dataset.
        model: what is called in the LLaVA's place; None: `Unmasked`.
        collator: what makes a batch.

    Returns:
        as `run_stage`.
    """
    training = llava_arguments.TrainingArguments(
        **settings(stage, folder, save_every),
        freeze_mm_mlp_adapter=stage.slower == 0,
        mm_projector_lr=stage.rate * stage.slower if stage.slower else None,
    )
    arguments = llava_arguments.ModelArguments(vision_tower=llava.config.mm_vision_tower)
    llava.config.use_cache = False
    choose_trained(llava.requires_grad_(True), arguments, training)
    trainer = LLaVATrainer(
        model=Unmasked(llava) if model is None else model,
        llava=llava,
        mode=mode_of(arguments, training),
        args=training,
        train_dataset=samples,
        data_collator=collator(tokenizer),
        processing_class=tokenizer,
        callbacks=callbacks,
    )
    return _trained(trainer, folder)


def _trained(trainer: Trainer, folder: Path) -> list[dict[str, float]]:
    trainer.train(resume_from_checkpoint=last_checkpoint(str(folder)))
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def make_optimizer(model: nn.Module, stage: Stage) -> torch.optim.Optimizer:
    """AdamW; matrices decay, norms and biases do not."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in trained if (weight.ndim > 1) is matrix], "weight_decay": WEIGHT_DECAY * matrix}
        for matrix in (True, False)
    ]
    return torch.optim.AdamW(groups, lr=stage.rate, betas=BETAS)
