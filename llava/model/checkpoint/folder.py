"""Where a checkpoint's files are: a folder, or a repository of the hub as its client caches it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers.utils import cached_file

from llava.errors import InputError, shown
from llava.files.reading import read_json_object, reason

# How transformers' `from_pretrained` is told where and how to look on the hub.
HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")


@dataclass(frozen=True)
class Folder:
    """A checkpoint's place.

    Attributes:
        path: a folder or a hub id.
        hub: those of `HUB_ARGUMENTS` that the caller gave.
    """

    path: str
    hub: Mapping[str, Any] = field(default_factory=dict)

    def find(self, name: str) -> str | None:
        """The path of a file on this machine; None when the checkpoint has none of that name.

        Raises:
            InputError: when the folder is not there, or the hub does not give it out.
        """
        check_folder(self.path)
        try:
            return cached_file(self.path, name, _raise_exceptions_for_missing_entries=False, **self.hub)
        except (OSError, ValueError) as error:
            raise InputError(
                f"a checkpoint must be reachable: {shown(self.path, 300)} is neither a folder nor on the hub "
                f"({reason(error)}); check --model-path and --model-base"
            ) from error

    def need(self, name: str, remedy: str) -> str:
        """As `find`; InputError when it is not there."""
        found = self.find(name)
        if found is None:
            raise InputError(f"'{self.path}' must hold {name}: it does not; {remedy}")
        return found

    def read_object(self, name: str) -> dict[str, Any] | None:
        """The JSON object in a file of the checkpoint; None when there is no such file; InputError when it is none."""
        found = self.find(name)
        return None if found is None else read_json_object(found, f"a checkpoint's {name}", "copy it again")


def check_folder(path: str) -> None:
    """Refuse a folder that is not there; what is no absolute path may be a hub id."""
    if "\0" in path or (os.path.isabs(path) and not os.path.isdir(path)):
        raise InputError(
            f"a checkpoint folder must exist: {shown(path, 300)} does not; check --model-path and --model-base"
        )


def first_line(error: BaseException) -> str:
    """What an error says, without its advice."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
