"""docs/hf.md says what `llava.hf` does."""

from pathlib import Path

from hf_processors import MAKERS
from hf_table import SHORT, table
from test_hf_published import QWEN
from test_hf_runner import NAMES
from test_hf_tiles_by_hand import TILED
from tiny_hf import BY_HAND, MODELS

import llava.hf

TEXT = (Path(__file__).parents[2] / "docs" / "hf.md").read_text()


def test_the_table_is_that_of_the_code() -> None:
    assert table() in TEXT, "run: PYTHONPATH=. python tests/hf/hf_table.py"


def test_every_class_and_preset_is_named() -> None:
    for name in (*llava.hf.supported(), *llava.hf.PRESETS):
        assert name in TEXT or f"`{name.split()[0]}" in TEXT, name


def test_the_table_of_checks_is_that_of_the_tests() -> None:
    """A `yes` stands for a class where a test is run on the tiny model of it."""
    lines = [line.strip("| ").split("|") for line in TEXT.splitlines() if line.startswith("|")]
    rows = {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines}
    said = {type(make()).__name__.removesuffix("ForConditionalGeneration"): name for name, make in MODELS.items()}
    columns = [said[short] for short in SHORT.values()]
    for words, tested in (
        ("everything kept", MODELS),
        ("VisionZip and VisionDrop against", [*BY_HAND, *TILED]),
        ("HiPrune and VScan", QWEN),
        ("a picture encoded once", MODELS),
        ("the runners", NAMES),
        ("`pipeline`", MAKERS),
    ):
        (row,) = (own for name, own in rows.items() if name.startswith(words))
        assert [cell == "yes" for cell in row] == [name in tested for name in columns], words
