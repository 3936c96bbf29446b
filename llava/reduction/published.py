"""Settings that methods share: what the released code does where it misbehaves, and what CLIP is given to read."""

import dataclasses
from typing import Any


def published_setting(what: str) -> Any:
    """The field `published` of a method; to be written `published: bool = published_setting("keep fewer ...")`.

    It may be said beside a budget, and is left out of what is written down where it is false.
    """
    return dataclasses.field(default=False, metadata={"help": f"true: {what}", "beside_budget": True})


def text_setting(unset: str) -> Any:
    """The field `text` of a method that has CLIP read the question; as above. `unset`: what it reads otherwise."""
    return dataclasses.field(default=None, metadata={"help": f"what CLIP reads; unset: {unset}", "beside_budget": True})
