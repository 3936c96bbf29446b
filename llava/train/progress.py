"""What a run says of itself: tokens per second in its log, and the curve of its loss as a picture."""

import logging
import os
import time
from typing import Any

from transformers import TrainerCallback

from llava.errors import InputError
from llava.eval.pictures.figure import new_figure, save

CURVE = "loss.png"
STILL = (
    "nothing is learned: this run is one step, and a warm-up begins with a learning rate of 0; put fewer samples into "
    "a step (GLOBAL_BATCH, --gradient_accumulation_steps), take more --num_train_epochs, or --warmup_ratio 0"
)
logger = logging.getLogger(__name__)


class Progress(TrainerCallback):
    """Says that a run can learn nothing, and draws the loss into its folder when it ends, where matplotlib is there."""

    def on_train_begin(self, args: Any, state: Any, control: Any, optimizer: Any = None, **_: Any) -> None:
        """Trainer's hook; a warm-up has its first step at a rate of 0, which is all of a run on few samples."""
        rates = [group["lr"] for group in getattr(optimizer, "param_groups", ())]
        if state.is_world_process_zero and state.max_steps == 1 and rates and not any(rates):
            logger.warning(STILL)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Trainer's hook."""
        if state.is_world_process_zero:
            draw_loss(state.log_history, os.path.join(args.output_dir, CURVE))


class Rates:
    """Samples and tokens of a run per second, counted on the device and asked for when something is logged."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._tokens: Any = 0
        self._samples = 0

    def add(self, mask: Any) -> None:
        """A batch of text with its (B, L) mask; an image counts as one token of its prompt."""
        self._tokens = self._tokens + mask.sum()
        self._samples += len(mask)

    def said(self, devices: int) -> dict[str, float]:
        """Per second since the run began, of all devices if they are alike."""
        seconds = max(time.perf_counter() - self._began, 1e-9)
        each = {"samples_per_second": self._samples, "text_tokens_per_second": int(self._tokens)}
        return {name: round(devices * count / seconds, 2) for name, count in each.items()}


def draw_loss(history: list[dict[str, Any]], path: str) -> bool:
    """The loss at every logged step as a PNG; False where nothing was logged or matplotlib is not there."""
    points = [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
    if not points:
        return False
    try:
        figure = new_figure(6, 3.5)
    except InputError:
        return False
    axes = figure.subplots()
    axes.plot(*zip(*points), linewidth=1)
    axes.set(xlabel="step", ylabel="loss")
    axes.grid(alpha=0.3)
    save(figure, path)
    return True
