"""What the JSON files beside a vocabulary say, checked before transformers acts on it.

transformers takes these files as they come: a text where true or false belongs counts as true, `vocab_file` and
`sp_model_kwargs` open any file they name, `init_inputs` reach the constructor. None of that may come from a checkpoint.
"""

import json
import os
from typing import Any

from transformers.utils import cached_file

from llava.errors import InputError, shown
from llava.files.reading import read_json_object, reason
from llava.files.writing import write_text
from llava.model.tokenizers.kinds import ROLES, check_ids, check_settings
from llava.model.tokenizers.vocabulary import check_vocabulary

# Arguments of `from_pretrained` that say where on a hub, or in its cache, files are.
_PLACE = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")


def find_file(path: str, name: str, place: dict[str, Any] | None = None) -> str | None:
    """Where a file of a folder or hub id lies on this machine; None when it has none of that name.

    Raises:
        InputError: when `path` is neither a folder nor an id that can be reached.
    """
    try:
        return cached_file(str(path), name, _raise_exceptions_for_missing_entries=False, **(place or {}))
    except (OSError, ValueError) as error:
        raise InputError(
            f"a tokenizer must be in a folder or on a hub: {shown(str(path))} is neither ({reason(error)}); check the "
            f"path"
        ) from None


def read_settings(path: str, place: dict[str, Any] | None = None) -> dict[str, Any]:
    """`tokenizer_config.json` of a folder or hub id, checked, and the older files beside it checked as well.

    Returns:
        the settings; {} when there is no such file.

    Raises:
        InputError: for a file that is no JSON object, or a setting of a wrong kind.
    """
    settings: dict[str, Any] = {}
    for name in ("added_tokens.json", "special_tokens_map.json", "tokenizer_config.json"):
        file = find_file(path, name, place)
        settings = read_json_object(file, f"a {name}", "copy it from the checkpoint's source") if file else {}
        if name == "added_tokens.json":
            check_ids(settings, file)
        else:
            check_settings(settings, file)
    return settings


def loading_arguments(path: Any, given: dict[str, Any]) -> dict[str, Any]:
    """What `from_pretrained` of transformers has to be told, because it would take it from elsewhere or drop it.

    Args:
        given: the caller's own arguments.

    Returns:
        `vocab_file`: the `tokenizer.model` there; older transformers 5 would open the one that the settings name.
        `add_bos_token`, `add_eos_token`: dropped by transformers where a `tokenizer.json` lies in the same folder.
        None for tokens in roles that LLaMA's does not know, such as `image_token`: transformers 5 would add them.

    Raises:
        InputError: as `read_settings`; when there is no `tokenizer.model`, or a damaged one.
    """
    if os.path.isfile(path):  # the vocabulary alone
        check_vocabulary(str(path))
        return {}
    place = {name: given[name] for name in _PLACE if name in given}
    settings, vocabulary = read_settings(path, place), find_file(path, "tokenizer.model", place)
    if vocabulary is None:
        raise InputError(f"a LLaMA tokenizer must come as tokenizer.model: {shown(str(path))} has none; copy one there")
    check_vocabulary(vocabulary)
    kept = {name: settings[name] for name in ("add_bos_token", "add_eos_token") if name in settings}
    roles = [name for name in settings if name.endswith("_token") and name not in ROLES and name not in kept]
    return kept | dict.fromkeys(roles) | {"vocab_file": vocabulary}


def add_settings(file: str, settings: dict[str, Any]) -> None:
    """Put settings into a `tokenizer_config.json` that was just written."""
    content = read_json_object(file, "a tokenizer_config.json") | settings
    write_text(file, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
