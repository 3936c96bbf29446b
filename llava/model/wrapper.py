"""What a wrapper around the model was told. PEFT forwards reading an attribute to the model, but not writing one."""

import sys
from types import FrameType
from typing import Any

from torch import nn

from llava.reduction import Reduction, method_class


def reduction_of_wrapper(model: Any) -> Reduction | None:
    """The method that was assigned to a PEFT model around `model`, for the call that is being made through it.

    `wrapped.reduction = method` stays on the wrapper, which the model has no way to ask: the wrapper's own call,
    further up the stack, is the only place that knows of both. A model that PEFT has not touched looks nowhere.

    Returns:
        None: no wrapper has one.
    """
    if "peft_config" not in vars(model):
        return None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, nn.Module) and caller is not model and "reduction" in vars(caller):
            method = vars(caller)["reduction"]
            return method if method is not None else method_class("none")()
        frame = frame.f_back
    return None
