"""The chat template of a checkpoint in transformers' layout, wherever one of its generations keeps it."""

from typing import Any

from llava.errors import InputError, shown
from llava.files.reading import read_text
from llava.model.checkpoint.folder import Folder

JINJA = "chat_template.jinja"
_IN_JSON = ("chat_template.json", "processor_config.json", "tokenizer_config.json")


def read_chat_template(folder: Folder) -> str:
    """Jinja text, from the first of these files that has one, as transformers looks for it.

    Raises:
        InputError: where none has, or what it has is no text.
    """
    file = folder.find(JINJA)
    if file is not None:
        return read_text(file, "a chat template")
    for name in _IN_JSON:
        found = (folder.read_object(name) or {}).get("chat_template")
        if found is not None:
            return _default(found, f"{folder.path}/{name}")
    raise InputError(
        f"prompts are written by the checkpoint's chat template: {shown(folder.path, 300)} has none ({JINJA}, "
        f"{', '.join(_IN_JSON)}); copy the file there, or name a conversation template with --conv-mode"
    )


def _default(found: Any, where: str) -> str:
    """One template, or that called `default` among several."""
    if isinstance(found, list):
        named = [entry for entry in found if isinstance(entry, dict)]
        found = {str(entry.get("name")): entry.get("template") for entry in named}
    if isinstance(found, dict):
        found = found.get("default")
    if not isinstance(found, str):
        raise InputError(f"a chat template must be a text: {shown(where, 300)} has {shown(found)}; fetch it again")
    return found
