"""The pictures in MMBench's tables."""

import base64
from typing import Any

from PIL import Image

from llava.errors import InputError
from llava.eval.benchmarks.mmbench import MOST_DIGITS, place
from llava.eval.runs.questions import QuestionImage
from llava.mm_utils import load_image_from_base64


class TableImage(QuestionImage):
    """A picture of a table's cell, RGB; `identity` is its base64 text."""

    def read(self) -> Image.Image:
        """Decoded."""
        return load_image_from_base64(self.identity)


def images_of(table: Any, path: str) -> list[TableImage]:
    """The picture of every row; a cell that is a number refers to the picture of the row with that index.

    Raises:
        InputError: for a cell that is missing, no base64 text, or refers to no picture; names the row.
    """
    cells: dict[int, Any] = dict(zip(table["index"].tolist(), table["image"]))
    images = []
    for at, (index, cell) in enumerate(cells.items()):
        where = f"{place(path, at)} (index {index})"
        data = cells.get(int(cell)) if _refers(cell) else cell
        if not isinstance(data, str) or _refers(data):
            found = f"a reference to index {cell}, which has none" if _refers(cell) else "none"
            raise InputError(f"every row needs a picture: {where} has {found}; fetch the table again")
        try:
            base64.b64decode(data)
        except ValueError as error:  # wrong padding, or characters that are no ASCII
            raise InputError(f"a picture must be base64 text: {where} is not ({error}); fetch it again") from None
        images.append(TableImage(data, where))
    return images


def _refers(cell: Any) -> bool:
    return isinstance(cell, str) and cell.isascii() and cell.isdecimal() and len(cell) <= MOST_DIGITS
