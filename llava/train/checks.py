"""What of transformers' own arguments cannot be trained with: numbers out of range, and what is not installed."""

import importlib.util
import math
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from transformers.integrations import get_available_reporting_integrations

from llava.errors import InputError, one_line, shown

INF = math.inf
# Lowest and highest value of each number; None may stand for one that is left to transformers.
RANGES: dict[str, tuple[float, float]] = {
    "per_device_train_batch_size": (1, 2**20),
    "gradient_accumulation_steps": (1, 2**20),
    "dataloader_num_workers": (0, 2**12),
    "save_total_limit": (1, 2**31),
    "save_steps": (1e-9, 2**62),
    "logging_steps": (1e-9, 2**62),
    "warmup_steps": (0, 2**62),
    "weight_decay": (0, 1e3),
    "max_grad_norm": (0, INF),
    "adam_beta1": (0, 1 - 1e-9),
    "adam_beta2": (0, 1 - 1e-9),
    "adam_epsilon": (0, 1),
    "seed": (0, 2**32 - 1),
    "model_max_length": (1, 2**31),
    "lora_r": (1, 2**16),
    "lora_alpha": (1, 2**20),
    "neftune_noise_alpha": (0, 1e6),
}
# What is used only with a flag's value, and where it comes from.
NEEDED = {
    "lora_enable": ("peft", "peft: pip install 'visiondrop[lora]'"),
    "bits": ("bitsandbytes", "bitsandbytes"),
    "use_liger_kernel": ("liger_kernel", "liger-kernel"),
}


def check_numbers(training: Any) -> None:
    """Refuse numbers that no run could be made with.

    Raises:
        InputError: naming the flag.
    """
    for name, (lowest, highest) in RANGES.items():
        value = getattr(training, name, None)
        if value is not None and not lowest <= value <= highest:
            least = "above 0" if lowest == 1e-9 else f"at least {lowest:g}"
            most = "below 1" if highest == 1 - 1e-9 else "and finite" if highest == INF else f"at most {highest:g}"
            raise InputError(f"--{name} must be {least} and {most.removeprefix('and ')}: got {shown(value)}")
    if training.max_grad_norm == INF:
        raise InputError("--max_grad_norm must be finite: got inf; 0 clips nothing")
    if training.max_steps != -1 and training.max_steps < 1:
        raise InputError(f"--max_steps must be at least 1, or -1 for whole epochs: got {training.max_steps}")
    if training.max_steps == -1 and not 0 < training.num_train_epochs < 1e6:
        raise InputError(f"--num_train_epochs must be above 0 and finite: got {shown(training.num_train_epochs)}")


def check_supported(training: Any, sees: bool) -> None:
    """Refuse what transformers' Trainer could do and LLaVA's training cannot, and packages that are not there.

    Args:
        sees: the run has a vision tower.
    """
    if training.do_eval or training.eval_on_start or _value(training.eval_strategy) != "no":
        raise InputError(
            "training has no evaluation data: got --eval_strategy, --do_eval or --eval_on_start; ask the model later"
        )
    if training.load_best_model_at_end or _value(training.save_strategy) == "best":
        raise InputError(
            "--load_best_model_at_end and --save_strategy best need evaluations, which training has not: leave it out"
        )
    if training.label_smoothing_factor:
        raise InputError(
            f"targets are counted in the model, behind the image's tokens: got --label_smoothing_factor "
            f"{training.label_smoothing_factor}; leave it out"
        )
    if training.remove_unused_columns and sees:
        raise InputError("--remove_unused_columns True would take the pictures out of every batch: leave it out")
    for flag, (module, where) in NEEDED.items():
        if getattr(training, flag) not in (False, 16) and importlib.util.find_spec(module) is None:
            raise InputError(f"--{flag} needs {module}: it is not installed; install {where}")
    _check_attention(training)
    _check_hub(training)
    known = get_available_reporting_integrations()
    for name in training.report_to:
        if name not in (*known, "none", "all"):
            raise InputError(
                f"--report_to must name an installed tracker: got {shown(name)}, expected none"
                f"{''.join(f', {one}' for one in known)}; install it, or choose another"
            )


def _value(choice: Any) -> str:
    """The word for one of transformers' choices."""
    return str(getattr(choice, "value", choice))


def _check_attention(training: Any) -> None:
    if training.attn_implementation != "flash_attention_2":
        return
    if importlib.util.find_spec("flash_attn") is None and importlib.util.find_spec("kernels") is None:
        raise InputError("--attn_implementation flash_attention_2 needs flash-attn: it is not installed; take sdpa")
    if training.device.type == "cpu":
        raise InputError("--attn_implementation flash_attention_2 needs a GPU: got a CPU; take sdpa")


def _check_hub(training: Any) -> None:
    if training.push_to_hub and training.hub_model_id is not None:
        try:
            validate_repo_id(training.hub_model_id)
        except HFValidationError as error:
            raise InputError(f"--hub_model_id must name a repository: {one_line(error)}") from error
