"""What is said when a prompt does not fit into a model's context, of which LLaVA loses the end without a word."""

import warnings
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cut:
    """Prompts that were cut off at `limit` tokens.

    Attributes:
        length: tokens of the longest of them with its images', before the cut.
        limit: the configuration's `tokenizer_model_max_length`.
        question_lost: in some row nothing is left of the text after the last image.
    """

    length: int
    limit: int
    question_lost: bool


def warn_of_cut(cut: Cut) -> None:
    """Say that the end of a prompt is lost. Not in training, where LLaVA cuts long conversations on purpose."""
    lost = "nothing of the text after its last image is left" if cut.question_lost else "its end is lost"
    warnings.warn(
        f"a prompt is cut off: with its images it has {cut.length} tokens, tokenizer_model_max_length in config.json "
        f"allows {cut.limit}, so {lost}; give fewer images or less text, keep fewer image tokens in the "
        f"encoder (--retain), or raise that entry if the model was trained for more",
        stacklevel=2,
    )


def warn_of_length(prompt: int, new: int, config: Any) -> None:
    """Say that a prompt of so many tokens and an answer of so many more pass the positions a model was trained on."""
    longest = getattr(config, "max_position_embeddings", None)
    if longest is None or prompt + new <= longest:
        return
    what = f"a prompt has {prompt} tokens with its images"
    if prompt <= longest:
        what += f" and may be answered by {new} more"
    warnings.warn(
        f"{what}: the model knows positions up to max_position_embeddings = {longest} in config.json, and what it "
        f"writes beyond them means little; give fewer images or less text, or ask for less (--max_new_tokens)",
        stacklevel=2,
    )


def new_tokens(config: Any, arguments: dict[str, Any]) -> int:
    """How many tokens a `generate` may write, as far as its arguments and generation configuration say; else 0."""
    given = arguments.get("max_new_tokens") or getattr(config, "max_new_tokens", None)
    return given if isinstance(given, int) else 0
