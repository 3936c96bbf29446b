"""What answers were made with: `<answers file>.settings.json`, and whether two runs were asked for the same.

Content decides, not spelling: the paths that a person typed are kept to be read, and compared only with settings from
before digests were written down.
"""

import json
import os
from pathlib import Path
from typing import Any

from llava.errors import InputError, shown
from llava.files.reading import kind_of, parse_json, read_json_object
from llava.files.writing import write_text

# What a person typed, and the key that holds its content. Pictures are named in the question file, relative to their
# folder; those looked at are compared one by one.
CONTENT = {
    "model_path": "checkpoint_sha256",
    "model_base": "base_sha256",
    "question_file": "question_file_sha256",
    "image_folder": "pictures_sha256",
    "video_folder": "pictures_sha256",
}
# What came of a run, and no answer depends on.
NOTES = ("skipped", "average_tokens", "questions_counted")
KINDS: dict[str, type | tuple[type, ...]] = {
    "answers": int,
    "average_tokens": (int, float),
    "method": str,
    "model_path": str,
    "settings": dict,
}


def path_of(answers_file: str | os.PathLike[str]) -> Path:
    """Where the settings of an answers file lie."""
    return Path(f"{os.fspath(answers_file)}.settings.json")


def as_written(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as they come back from a file: lists for tuples, and paths that are no UTF-8 spelt out."""
    return parse_json(json.dumps({name: readable(value) for name, value in settings.items()}), "settings", "these")


def readable(value: Any) -> Any:
    """A text in which bytes of a path that are no UTF-8 are spelt out (`\\xff`); anything else as it is."""
    return os.fsencode(value).decode("utf-8", "backslashreplace") if isinstance(value, str) else value


def as_text(settings: dict[str, Any]) -> str:
    """The file's content."""
    return json.dumps(settings, indent=2, ensure_ascii=False) + "\n"


def write_settings(answers_file: str | os.PathLike[str], settings: dict[str, Any]) -> None:
    """Write the settings file; InputError when it cannot be."""
    write_text(path_of(answers_file), as_text(settings))


def read_settings(answers_file: str | os.PathLike[str], *needed: str) -> dict[str, Any]:
    """What an answers file was made with.

    Args:
        needed: keys of `KINDS` that must be there and of that kind.

    Raises:
        InputError: when the file is missing, damaged, no JSON object or lacks a key.
    """
    path = path_of(answers_file)
    if not path.exists():
        raise InputError(f"answers need the settings they were made with: '{answers_file}' has no {path.name}; run it")
    settings = read_json_object(path, "a settings file", "run its answers again with --overwrite")
    for name in needed:
        value = settings.get(name)
        if not isinstance(value, KINDS[name]) or isinstance(value, bool):
            found = f"has {shown(value)}" if name in settings else "lacks it"
            raise InputError(
                f"a settings file must hold {name}: {shown(str(path), 300)} {found}; run its answers again with "
                f"--overwrite"
            )
    return settings


def difference(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """The first setting in which two runs differ, so that the answers of one are no answers of the other.

    Settings without a digest are of an earlier version: spelling is compared instead, but for the folder of images.
    """
    contents = set(CONTENT.values())
    for name in {**before, **now}:
        if name in NOTES or (name in contents and not (name in before and name in now)):
            continue
        old, new = before.get(name), now.get(name)
        if name in CONTENT:
            content = CONTENT[name]
            same = (
                name in ("image_folder", "video_folder")
                or (content in before and content in now)
                or _place(old) == _place(new)
            )
        elif name == "pictures_sha256" and isinstance(old, list) and isinstance(new, list):
            same = all(one == other or None in (one, other) for one, other in zip(old, new))
        else:
            same = old == new
        if not same:
            return name
    return None


def told(value: Any) -> str:
    """A setting in a complaint."""
    return shown(value) if isinstance(value, str | int | float | dict | list | None) else kind_of(value)


def _place(path: Any) -> Any:
    """A path without what does not change where it leads."""
    return os.path.realpath(path) if isinstance(path, str) and path else path
