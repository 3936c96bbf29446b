"""Plain LLaVA: every patch, at every layer. The yardstick."""

from dataclasses import dataclass

from llava.reduction.base import Reduction


@dataclass(frozen=True)
class Unreduced(Reduction):
    """Keeps everything, as LLaVA does; there is nothing to set."""
