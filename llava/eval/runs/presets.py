"""`--preset`: settings as published, for a LLaVA, and for pictures of any size (Qwen-VL, InternVL)."""

from typing import Any

from llava.hf.presets import PRESETS as OF_ANY_SIZE
from llava.reduction.paper import PRESETS as OF_LLAVA


def add_preset(group: Any) -> None:
    """The flag. Which of the two kinds fits is known with the model, which refuses the other.

    Args:
        group: of an argument parser.
    """
    text = (
        f"settings as published, whatever they come to; a LLaVA: {', '.join(OF_LLAVA)}; models of transformers' own, "
        f"whose presets name the method: {', '.join(map(repr, OF_ANY_SIZE))}"
    )
    group.add_argument("--preset", choices=(*OF_LLAVA, *OF_ANY_SIZE), metavar="NAME", help=text.replace("%", "%%"))
