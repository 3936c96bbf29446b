"""The prompt of a `generate`, however a program names it."""

from typing import Any

import torch

from llava.errors import InputError


def one_prompt(
    inputs: torch.Tensor | None, input_ids: torch.Tensor | None, embeds: torch.Tensor | None
) -> torch.Tensor | None:
    """The ids of a prompt, however they are named; None: there are embeddings instead.

    Raises:
        InputError: where not exactly one of them is given.
    """
    named = {"inputs": inputs, "input_ids": input_ids, "inputs_embeds": embeds}
    given = [name for name, value in named.items() if value is not None]
    if len(given) != 1:
        raise InputError(
            f"generate needs one prompt: got {' and '.join(given) or 'none'}; give ids as inputs (or input_ids), or "
            f"inputs_embeds"
        )
    return inputs if inputs is not None else input_ids


def last_real(ids: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """(B, 1): the last token of each prompt that is no padding."""
    if mask is None:
        return ids[:, -1:]
    last = (mask.bool().to(ids.device) * torch.arange(1, ids.shape[1] + 1, device=ids.device)).argmax(dim=1)
    return ids.gather(1, last[:, None])


def refuse_prompt_learning(model: Any) -> None:
    """Refuse PEFT's prefix and prompt tuning, which put their own prompt in place of the one with the images.

    PEFT tells the model that it generates for it by replacing one of its methods for that time.
    """
    owner = getattr(vars(model).get("prepare_inputs_for_generation"), "__self__", None)
    config = getattr(owner, "active_peft_config", None)
    if config is not None and config.is_prompt_learning:
        raise InputError(
            f"generate knows no {config.peft_type.value} of PEFT: its virtual tokens would take the place of the "
            f"prompt; use LoRA, or unload it with get_base_model()"
        )
