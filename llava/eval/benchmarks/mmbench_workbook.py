"""The workbook that MMBench's server took: the table without pictures, with a column of predictions.

Every text is written as text: one that begins with `=` is no formula, and what XML cannot hold is left out.
"""

import io
import re
from typing import Any

from llava.errors import InputError
from llava.eval.benchmarks.answers import warn

DROPPED = ("hint", "category", "source", "image", "comment", "l2-category")
FIRST = ("index", "question", "A", "B", "C", "D")  # the predictions come behind them
UNWRITABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # characters that XML cannot hold
MOST_ROWS, MOST_COLUMNS, MOST_CHARACTERS = 1_048_576, 16_384, 32_767  # of a sheet, and of a cell


def check_openpyxl() -> None:
    """Refuse where the library that writes workbooks is not installed."""
    try:
        import openpyxl  # noqa: F401
    except ImportError:
        raise InputError("a workbook needs openpyxl, which is not installed; pip install 'visiondrop[eval]'") from None


def sheet(table: Any, texts: dict[str, str]) -> Any:
    """The upload's table from MMBench's and the answers by index; a row without answer stays empty."""
    upload = table.drop(columns=[name for name in DROPPED if name in table.columns])
    upload.insert(len(FIRST), "prediction", upload["index"].astype(str).map(texts))
    return upload


def plain(text: str) -> str:
    """A text as a cell can hold it: without control characters, its lines ended by line feeds, not too long."""
    return UNWRITABLE.sub("", re.sub(r"\r\n?", "\n", text))[:MOST_CHARACTERS]


def workbook(upload: Any) -> bytes:
    """The contents of the .xlsx file; cells that had to be changed are said on stderr.

    Raises:
        InputError: for more rows or columns than a sheet has.
    """
    import openpyxl

    if len(upload) >= MOST_ROWS or len(upload.columns) > MOST_COLUMNS:
        raise InputError(
            f"a workbook holds {MOST_ROWS} rows of {MOST_COLUMNS} columns: the table has {len(upload) + 1} of "
            f"{len(upload.columns)}; fetch it again"
        )
    book = openpyxl.Workbook()
    page = book.active
    page.title = "Sheet1"
    changed = []
    for at, row in enumerate([tuple(upload.columns), *upload.itertuples(index=False)], 1):
        for column, value in enumerate(row, 1):
            if isinstance(value, str):
                changed += [str(row[0])] if plain(value) != value else []
                page.cell(at, column, plain(value)).data_type = "s"
            elif isinstance(value, int):
                page.cell(at, column, int(value))
    warn("cells hold control characters or more than a workbook can, which is left out; rows of index", changed)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()
