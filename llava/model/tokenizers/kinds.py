"""Of which kind each setting of a tokenizer is, as `tokenizer_config.json` and the older files write it."""

from collections.abc import Callable
from typing import Any

from llava.errors import InputError, shown

# The special tokens that have a role in every tokenizer.
ROLES = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")

Kind = tuple[Callable[[Any], bool], str]  # whether a value is of it, and what to call it


def check_settings(settings: dict[str, Any], file: str | None) -> None:
    """Refuse settings of a wrong kind; those that are not known here may be anything.

    Raises:
        InputError: naming the setting and the file.
    """
    _check(settings, file, _EXPECTED)


def check_ids(tokens: dict[str, Any], file: str | None) -> None:
    """Refuse an `added_tokens.json` that gives a token anything but an id; InputError as `check_settings`."""
    _check(tokens, file, dict.fromkeys(tokens, (_is_id, "an id")))


def _check(settings: dict[str, Any], file: str | None, expected: dict[str, Kind]) -> None:
    for name, value in settings.items():
        fits, words = expected.get(name, _ANYTHING)
        if not fits(value):
            raise InputError(
                f"a tokenizer's settings must be of their kind: {shown(name)} is {shown(value)} in {shown(file, 300)}, "
                f"expected {words}; mend the file"
            )


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_flag(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _is_length(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0)


def _is_token(value: Any) -> bool:
    """A token's text, or its text and how it is cut out."""
    if not isinstance(value, dict):
        return isinstance(value, str)
    marks = {name: mark for name, mark in value.items() if name not in ("content", "__type")}
    return isinstance(value.get("content"), str) and all(isinstance(mark, bool) for mark in marks.values())


def _is_token_or_none(value: Any) -> bool:
    return value is None or _is_token(value)


def _are_tokens(value: Any) -> bool:
    listed = value.values() if isinstance(value, dict) else value
    return value is None or (isinstance(value, (list, dict)) and all(_is_token(token) for token in listed))


def _are_numbered_tokens(value: Any) -> bool:
    return isinstance(value, dict) and all(
        number.isdecimal() and isinstance(token, dict) and _is_token(token) for number, token in value.items()
    )


def _is_nothing(value: Any) -> bool:
    return not value and (value is None or isinstance(value, (list, dict)))


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _is_template(value: Any) -> bool:
    """Jinja text, or several with their names."""
    if isinstance(value, list):
        return all(isinstance(part, dict) and _are_texts([part.get("name"), part.get("template")]) for part in value)
    return _is_text(value)


_ANYTHING: Kind = (lambda value: True, "")
_FLAG = (_is_flag, "true or false")
_TOKEN = (_is_token_or_none, "a token")
_EXPECTED: dict[str, Kind] = {
    **dict.fromkeys(("add_bos_token", "add_eos_token", "add_prefix_space", "clean_up_tokenization_spaces"), _FLAG),
    **dict.fromkeys(("legacy", "spaces_between_special_tokens", "split_special_tokens"), _FLAG),
    **dict.fromkeys(ROLES, _TOKEN),
    **dict.fromkeys(("additional_special_tokens", "extra_special_tokens"), (_are_tokens, "a list of tokens")),
    "added_tokens_decoder": (_are_numbered_tokens, "an object of ids and tokens"),
    "model_max_length": (_is_length, "a length above 0"),
    "model_input_names": (_are_texts, "a list of names"),
    "chat_template": (_is_template, "a template"),
    "tokenizer_class": (_is_text, "the name of a class"),
    "sp_model_kwargs": (_is_nothing, "nothing: SentencePiece's own settings are in tokenizer.model"),
    "init_inputs": (_is_nothing, "nothing"),
}
