"""Small things that LLaVA's users import from `llava.utils`, and what needs no torch to be known."""

from typing import TYPE_CHECKING

from llava.logs import StreamToLogger, build_logger
from llava.moderation import violates_moderation

if TYPE_CHECKING:
    from asyncio import Semaphore

__all__ = [
    "StreamToLogger",
    "build_logger",
    "disable_torch_init",
    "get_model_name_from_path",
    "moderation_msg",
    "pretty_print_semaphore",
    "server_error_msg",
    "violates_moderation",
]

# What a chat page shows instead of an answer. LLaVA's names; the words are ours.
server_error_msg = "**The model cannot be reached, or has too much to do. Please ask again in a while.**"
moderation_msg = "This text cannot be answered: the content filter has flagged it. Please write another one."


def disable_torch_init() -> None:
    """Do nothing; kept because LLaVA's commands and other programs call it before they load a model.

    LLaVA's function saved start-up time by replacing the default initialisation of torch's Linear and LayerNorm
    classes. This project assigns to no class it did not write, and transformers 5 builds a model on the meta device
    before it fills in the checkpoint's weights, so there is no initialisation left to skip.
    """


def pretty_print_semaphore(semaphore: "Semaphore | None") -> str:
    """How many may still enter, for a server's log: `Semaphore(value=3, locked=False)`, or `None`."""
    if semaphore is None:
        return "None"
    return f"Semaphore(value={semaphore._value}, locked={semaphore.locked()})"


def get_model_name_from_path(model_path: str) -> str:
    """Return the last part of the path, with its parent in front when it is a training checkpoint.

    "liuhaotian/llava-v1.5-7b" -> "llava-v1.5-7b"; "out/llava-lora/checkpoint-900" -> "llava-lora_checkpoint-900".
    """
    *_, parent, last = ["", *model_path.strip("/").split("/")]
    return f"{parent}_{last}" if parent and last.startswith("checkpoint-") else last
