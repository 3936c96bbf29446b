"""What becomes of tokens' positions when a stage inside the LLM has dropped some: kept, or counted anew.

A hidden variable of the field: one half of the published methods does the one, the other half the other. So it is a
setting of every method that drops inside the LLM, whose default is what was published.
"""

import dataclasses
from typing import Any

from llava.errors import InputError, shown

KEEP, RENUMBER = "keep", "renumber"
POLICIES = (KEEP, RENUMBER)


def position_policy(published: str) -> Any:
    """The field `positions` of a method; to be written `positions: str = position_policy("keep")`.

    It may be said beside a budget, and is left out of what is written down where it is as published.
    """
    text = "where survivors stand: keep (where they stood) or renumber (0, 1, 2, ...); unset: as the method's paper did"
    return dataclasses.field(
        default=published, kw_only=True, metadata={"help": text, "choices": POLICIES, "beside_budget": True}
    )


def check_choices(method: Any) -> None:
    """Refuse a setting that is none of the words its field allows."""
    for setting in dataclasses.fields(method):
        allowed, value = setting.metadata.get("choices"), getattr(method, setting.name)
        if allowed is not None and value not in allowed:
            raise InputError(
                f"{setting.name} must be {' or '.join(allowed)}: got {shown(value)}; leave it out for the default"
            )


def written_settings(method: Any) -> dict[str, Any]:
    """A method's settings as they are written down: without those beside a budget that are as published.

    So a schedule reads as its paper has it, and what was written before there was such a setting still fits.
    """
    settings = {field.name: (field, getattr(method, field.name)) for field in dataclasses.fields(method)}
    return {
        name: value
        for name, (field, value) in settings.items()
        if not (field.metadata.get("beside_budget") and value == field.default)
    }
