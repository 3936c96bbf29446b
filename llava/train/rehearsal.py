"""The Trainer's parts made once for a model of one weight: what they refuse is known before a model is loaded."""

import copy
import math
import tempfile
from typing import Any

import torch
import transformers
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader

from llava.errors import InputError, one_line

STEPS = 1000  # of the rehearsed schedule where the flags leave the number to the data
# What transformers, accelerate, torch and the optimisers' packages raise on settings.
_REFUSALS = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RuntimeError,
    AssertionError,
    ImportError,
    OSError,
    ArithmeticError,
)


def rehearse(training: Any) -> None:
    """Make optimiser, schedule, loader and trainer as the run would, on nothing.

    Under DeepSpeed and FSDP nothing is rehearsed: their state is made once in a process.

    Raises:
        InputError: with what the parts said.
    """
    if training.deepspeed or training.fsdp:
        return
    args = copy.copy(training)
    args.report_to, args.push_to_hub, args.disable_tqdm = [], False, True
    try:
        with tempfile.TemporaryDirectory() as nowhere:
            args.output_dir = nowhere
            trainer = transformers.Trainer(model=nn.Linear(1, 1), args=args)
        _check_schedule(trainer, args)
        _check_optimiser(args)
        _check_loader(args)
        _check_checkpointing(args)
        if args.torch_compile:
            torch.compile(nn.Identity(), backend=args.torch_compile_backend, mode=args.torch_compile_mode)
    except _REFUSALS as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"training's flags must fit together: {one_line(error) or type(error).__name__}") from error


def _check_schedule(trainer: Any, args: Any) -> None:
    """Rates at the beginning, behind the warm-up, in the middle and at the end must be numbers."""
    steps = args.max_steps if args.max_steps > 0 else STEPS
    if args.optim_target_modules:  # names modules of the model: nothing of one weight stands for them
        trainer.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=args.learning_rate)
        trainer.create_scheduler(steps, trainer.optimizer)
    else:
        trainer.create_optimizer_and_scheduler(steps)
    for rate in getattr(trainer.lr_scheduler, "lr_lambdas", ()):
        for at in (0, args.get_warmup_steps(steps), steps // 2, steps - 1):
            if not math.isfinite(rate(at)):
                raise InputError(f"--lr_scheduler_kwargs must lead to learning rates: got {rate(at)} at step {at}")


def _check_optimiser(args: Any) -> None:
    """Settings that an optimiser never looks at would be lost without a word."""
    if not args.optim_args or args.optim_target_modules:
        return
    without = copy.copy(args)
    without.optim_args = None
    made, plain = (transformers.Trainer.get_optimizer_cls_and_kwargs(one)[1] for one in (args, without))
    if made == plain:
        name = getattr(args.optim, "value", args.optim)
        raise InputError(f"--optim_args must be the optimiser's: --optim {name} takes none of them; leave it out")


def _check_loader(args: Any) -> None:
    DataLoader(
        [0],  # type: ignore[arg-type]
        num_workers=args.dataloader_num_workers,
        prefetch_factor=args.dataloader_prefetch_factor,
        persistent_workers=args.dataloader_persistent_workers,
    )


def _check_checkpointing(args: Any) -> None:
    given = getattr(args, "activation_checkpointing_kwargs", None) or args.gradient_checkpointing_kwargs
    if given is not None and not isinstance(given, dict):
        raise InputError(f"--gradient_checkpointing_kwargs must be a JSON object: got {given!r}; write {{...}}")
    if given:
        settings: dict[str, Any] = {"use_reentrant": False} | given
        checkpoint(nn.Identity(), torch.ones(1, requires_grad=True), **settings)
