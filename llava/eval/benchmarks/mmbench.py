"""MMBench's tables: tab-separated, double-quote aware, with pictures as base64 text inside.

A cell is missing where pandas reads it so (empty, `NA`, `None`, `null`, ... of pandas' own list) and where it says
`nan` or `none` in any case; that is LLaVA's rule, so an option whose text is "None" ends the options.
"""

import io
import warnings
from typing import Any

from llava.errors import InputError, one_line, shown
from llava.files.reading import read_text

LETTERS = ("A", "B", "C", "D")
ASKED = ("index", "question", "hint", *LETTERS, "image")
# Columns that copies of the tables write with other capitals (`L2-category`); MMBench's server reads them so too.
NAMES = ("index", "question", "hint", "answer", "category", "image", "source", "l2-category", "comment", "split")
CIRCLE = 1_000_000  # an index is that of the question plus CIRCLE for every place its options were turned by
MISSING_WORDS = ("nan", "none")
MOST_DIGITS = 15  # of an index, far from what 64 bits hold


def read_table(path: str, columns: tuple[str, ...] = ASKED) -> Any:
    """An MMBench table as a pandas DataFrame: `index` int64, every other cell text or NaN.

    The text is read here and given to pandas, which would fetch addresses and unpack archives.

    Raises:
        InputError: when pandas is not installed, the file is no table, empty, lacks one of `columns`, or an index is
            no whole number or comes twice.
    """
    try:
        import pandas
    except ImportError:
        raise InputError(
            "MMBench's tables need pandas, which is not installed; pip install 'visiondrop[eval]'"
        ) from None
    text = io.StringIO(read_text(path, "MMBench's table"), newline="")
    try:
        with warnings.catch_warnings(action="error", category=pandas.errors.ParserWarning):
            table = pandas.read_table(text, dtype=str, index_col=False)
    except pandas.errors.EmptyDataError:
        raise InputError(f"a table must hold rows: '{path}' is empty; fetch it again") from None
    except (ValueError, OverflowError, pandas.errors.ParserError, pandas.errors.ParserWarning) as error:
        raise InputError(
            f"a table must be tab-separated UTF-8 text: '{path}' is not ({one_line(error)}); fetch it again"
        ) from None
    table = table.rename(columns=_usual_names(list(table.columns)))
    lacking = [name for name in columns if name not in table.columns]
    if lacking:
        raise InputError(
            f"MMBench's table needs the columns {', '.join(columns)}: '{path}' lacks {', '.join(lacking)}; take the "
            f"legacy or 2023 file of https://download.openmmlab.com/mmclassification/datasets/mmbench/"
        )
    if not len(table):
        raise InputError(f"a table must hold rows: '{path}' has a heading alone; fetch it again")
    table["index"] = _indices(table["index"], path)
    return table


def _usual_names(columns: list[str]) -> dict[str, str]:
    """New names of the columns that are known by other capitals and not there under their usual name."""
    return {name: name.lower() for name in columns if name.lower() in NAMES and name.lower() not in columns}


def _indices(cells: Any, path: str) -> Any:
    """The index column as whole numbers, each there once."""
    wrong = ~cells.fillna("").str.fullmatch(rf"[0-9]{{1,{MOST_DIGITS}}}")
    if wrong.any():
        raise InputError(
            f"an index must be a whole number of at most {MOST_DIGITS} digits: {place(path, wrong.argmax())} has "
            f"{shown(cells[wrong].iloc[0])}; fetch the table again"
        )
    numbers = cells.astype("int64")
    repeated = numbers.duplicated()
    if repeated.any():
        index = numbers[repeated].iloc[0]
        raise InputError(f"an index comes once: {place(path, repeated.argmax())} has {index} again; remove a row")
    return numbers


def place(path: str, at: int) -> str:
    """Names the row at a position, for complaints. Rows, not lines: a quoted cell may hold line breaks."""
    return f"{path} row {at + 1}"


def present(cell: Any) -> bool:
    """Whether a cell of `read_table` holds something."""
    return isinstance(cell, str) and cell.lower() not in MISSING_WORDS


def options_of(row: dict[str, Any]) -> list[str]:
    """The options of a question: cells A to D up to the first that is missing."""
    options: list[str] = []
    for letter in LETTERS:
        if not present(row[letter]):
            break
        options.append(row[letter])
    return options
