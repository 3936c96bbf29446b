"""A long examination in parts: what fails is written down and the next part begins; what would be too late is left."""

import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from llava.errors import InputError


def run_sections(
    parts: Mapping[str, Callable[[], Any]], seconds: float, save: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Run parts in order and save after each, so that nothing that was measured is lost.

    Args:
        parts: by name; each returns what is to be kept.
        seconds: no part begins later than this.
        save: given everything found so far.

    Returns:
        `found` by name, `failed` (the traceback by name), `skipped` (names), `seconds` each took.
    """
    started = time.monotonic()
    result: dict[str, Any] = {"found": {}, "failed": {}, "skipped": [], "seconds": {}}
    for name, part in parts.items():
        begun = time.monotonic()
        if begun - started > seconds:
            result["skipped"].append(name)
            continue
        try:
            result["found"][name] = part()
        except InputError as error:
            result["failed"][name] = str(error)
        except Exception:  # whatever a device that nobody has tried can raise belongs into the report
            result["failed"][name] = traceback.format_exc()
        result["seconds"][name] = time.monotonic() - begun
        save(result)
    save(result)
    return result
