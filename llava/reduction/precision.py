"""Scores and similarities are float32 whatever surrounds a call: under autocast a matrix product would not be."""

import contextlib

import torch


def without_autocast(device: torch.device) -> contextlib.AbstractContextManager:
    """A block whose operations on `device` keep the dtypes they are given; costs nothing outside autocast."""
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()
