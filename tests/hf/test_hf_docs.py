"""docs/hf.md says what `llava.hf` does."""

from pathlib import Path

from hf_table import table

import llava.hf

TEXT = (Path(__file__).parents[2] / "docs" / "hf.md").read_text()


def test_the_table_is_that_of_the_code() -> None:
    assert table() in TEXT, "run: PYTHONPATH=. python tests/hf/hf_table.py"


def test_every_class_and_preset_is_named() -> None:
    for name in (*llava.hf.supported(), *llava.hf.PRESETS):
        assert name in TEXT or f"`{name.split()[0]}" in TEXT, name
