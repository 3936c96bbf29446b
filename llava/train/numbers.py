"""A run whose loss is no number any more learns nothing more: it is stopped when that is seen, and says so."""

import math
from typing import Any

from transformers import TrainerCallback

from llava.errors import InputError


class StopAtNoNumber(TrainerCallback):
    """Refuses to go on with a loss of NaN or infinity."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Trainer's hook, on all devices with the same numbers."""
        loss = (logs or {}).get("loss", 0.0)
        if isinstance(loss, float) and not math.isfinite(loss):
            raise InputError(
                f"the loss must be a number: it is {loss} at step {state.global_step}; lower --learning_rate (now "
                f"{args.learning_rate:g}), clip with --max_grad_norm 1, and look at the weights that training began "
                f"with; an earlier checkpoint is as good as it was"
            )
