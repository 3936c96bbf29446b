"""`generation_config.json`: how a model answers where a call does not say."""

from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from llava.errors import InputError, shown
from llava.files.reading import reason
from llava.files.writing import write_text
from llava.model.checkpoint.config import DOES_NOT_FIT
from llava.model.checkpoint.folder import Folder
from llava.model.checkpoint.rules import Rule, check, either, flag, list_of, nullable, number, text, whole

FILE = "generation_config.json"
_COUNT, _TOKEN = whole(0, 2**31), whole(-1, 2**24)
_TOKENS = either(_TOKEN, list_of(_TOKEN))
# What changes an answer. Caches, compilers and assistants are the program's business.
RULES: dict[str, Rule] = {
    **dict.fromkeys(("max_length", "max_new_tokens", "min_length", "min_new_tokens"), nullable(_COUNT)),
    **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id", "forced_eos_token_id"), nullable(_TOKENS)),
    **dict.fromkeys(("forced_bos_token_id", "decoder_start_token_id"), nullable(_TOKENS)),
    **dict.fromkeys(("do_sample", "renormalize_logits", "remove_invalid_values", "use_cache"), nullable(flag())),
    **dict.fromkeys(("temperature", "repetition_penalty", "typical_p", "min_p"), nullable(number(0, 1e6))),
    **dict.fromkeys(("top_p", "epsilon_cutoff", "eta_cutoff"), nullable(number(0, 1))),
    "length_penalty": nullable(number(-1e6, 1e6)),
    "top_k": nullable(_COUNT),
    "num_beams": nullable(whole(1, 1024)),
    "num_return_sequences": nullable(whole(1, 1024)),
    "early_stopping": nullable(either(flag(), text(10))),
    "no_repeat_ngram_size": nullable(_COUNT),
    "max_time": nullable(number(0, 1e9)),
    "bad_words_ids": nullable(list_of(list_of(_TOKEN, 1), 1)),
    **dict.fromkeys(("suppress_tokens", "begin_suppress_tokens"), nullable(list_of(_TOKEN))),
    "stop_strings": nullable(either(text(), list_of(text()))),
}


class KeptGenerationConfig(GenerationConfig):
    """Settings that are written as they were read.

    transformers refuses to write what contradicts itself, such as Vicuna's temperature without do_sample; whole models
    could not be saved for it.
    """

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> None:
        """As transformers', without the refusal."""
        try:
            super().save_pretrained(save_directory, *args, **kwargs)
        except ValueError:
            write_text(Path(save_directory, FILE), self.to_json_string(use_diff=True))


def read_generation_config(folder: Folder) -> GenerationConfig | None:
    """The settings of a checkpoint; None where it has none.

    Raises:
        InputError: naming the first value that cannot be.
    """
    raw = folder.read_object(FILE)
    if raw is None:
        return None
    where, what = f"{folder.path}/{FILE}", f"a checkpoint's {FILE}"
    check(raw, RULES, what, where)
    settings: dict[str, Any] = {name: value for name, value in raw.items() if name in RULES}
    try:
        config = KeptGenerationConfig(**settings)
        config.validate()
    except DOES_NOT_FIT as error:
        raise InputError(
            f"{what} must fit: {shown(where, 300)} does not ({reason(error)}); fetch the file again"
        ) from error
    return config
