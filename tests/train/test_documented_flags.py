"""docs/training.md names every flag that training has beside transformers' own, with its default and meaning."""

import dataclasses
import re
from pathlib import Path

import pytest
import transformers

from llava.train.arguments import DataArguments, ModelArguments, TrainingArguments

GUIDE = (Path(__file__).parents[2] / "docs/training.md").read_text()
KNOWN = {field.name for field in dataclasses.fields(transformers.TrainingArguments)}
# transformers' own, with another default here.
CHANGED = {"optim", "remove_unused_columns", "logging_nan_inf_filter"}


def rows(kind: type) -> list[str]:
    """A line of the guide's table for each flag."""
    fields = [field for field in dataclasses.fields(kind) if field.name not in KNOWN or field.name in CHANGED]
    return [
        f"| `--{field.name}` | {'-' if field.default in (None, '') else field.default} | {_said(field)} |"
        for field in fields
    ]


def _said(field: dataclasses.Field) -> str:
    """What --help says; Markdown would take a token for a tag of HTML."""
    return re.sub(r"<\w+>", r"`\g<0>`", field.metadata["help"])


@pytest.mark.parametrize("kind", [ModelArguments, DataArguments, TrainingArguments])
def test_every_flag_is_in_the_guide_as_help_says_it(kind: type) -> None:
    missing = [row for row in rows(kind) if row not in GUIDE.splitlines()]
    assert not missing, "\n".join(missing)
    assert len(rows(kind)) >= 8
