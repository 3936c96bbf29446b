"""Qwen's tokenizer as its first files are: byte-level pieces in `vocab.json`, their merges in `merges.txt`."""

from typing import Any

from transformers import Qwen2Tokenizer

from llava.errors import InputError, shown
from llava.files.reading import read_json_object, read_text
from llava.model.tokenizers.settings import find_file

__all__ = ["FILES", "Qwen2Tokenizer", "qwen_arguments"]

FILES = ("vocab.json", "merges.txt")
_REMEDY = "fetch it from the base language model again"


def qwen_arguments(path: str) -> dict[str, Any] | None:
    """What `Qwen2Tokenizer.from_pretrained` has to be told; None where a folder or hub id has not both files.

    Settings beside these files could name others.

    Raises:
        InputError: naming the file that is damaged.
    """
    vocabulary, merges = (find_file(path, name) for name in FILES)
    if vocabulary is None or merges is None:
        return None
    pieces = read_json_object(vocabulary, "a vocab.json", _REMEDY)
    if not pieces or sorted(map(repr, pieces.values())) != sorted(map(repr, range(len(pieces)))):
        raise InputError(
            f"a vocab.json must number its pieces 0, 1, 2, ...: {shown(vocabulary, 300)} does not; {_REMEDY}"
        )
    lines = read_text(merges, "a merges.txt").splitlines()
    pairs = [tuple(line.split()) for line in lines if line.strip() and not line.startswith("#version:")]
    if any(len(pair) != 2 for pair in pairs):
        raise InputError(f"a merges.txt must hold two pieces a line: {shown(merges, 300)} does not; {_REMEDY}")
    others = dict.fromkeys(("vocab", "merges", "tokenizer_file", "gguf_file", "tokenizer_object"))
    return {"vocab_file": vocabulary, "merges_file": merges, **others}
