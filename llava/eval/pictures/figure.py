"""What all pictures of this package share: matplotlib without a screen, and files that come out the same each time."""

from pathlib import Path
from typing import Any

from llava.errors import InputError

# One colour per method in every picture; what is not named gets the next free one of matplotlib's ten.
COLOURS = {
    "none": "black",
    "visiondrop": "C0",
    "visionzip": "C1",
    "pyramiddrop": "C2",
    "downsample": "C5",
    "random": "C7",
}


def new_figure(width: float, height: float) -> Any:
    """An empty matplotlib figure of so many inches.

    Raises:
        InputError: where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError(
            "the picture needs matplotlib, which is not installed; pip install 'visiondrop[eval]'"
        ) from None
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Any, path: str, dots: int = 160) -> None:
    """A PNG without the name of the program in it; its folder is made."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dots, format="png", metadata={"Software": None})


def colour_of(method: str) -> str:
    """The method's colour."""
    free = [f"C{number}" for number in range(10) if f"C{number}" not in COLOURS.values()]
    return COLOURS.get(method, free[sum(map(ord, method)) % len(free)])
