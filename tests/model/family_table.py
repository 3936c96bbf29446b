"""The table of `docs/checkpoints.md`, made of what the code refuses and what it does not.

    PYTHONPATH=. python tests/model/family_table.py

writes it anew. That what is not refused works, `test_families.py` tries on models of random weights.
"""

import re
import sys
from pathlib import Path

from family_models import FRAMES, LANGUAGE, SIGHT, VIDEO, model_of

from llava.errors import InputError
from llava.reduction import Geometry, Reduction, available, method_class, resolve

DOCS = Path(__file__).parents[2] / "docs/checkpoints.md"
BEGIN, END = "<!-- families: written by tests/model/family_table.py -->\n", "<!-- /families -->\n"
SIGHTS = [*SIGHT, VIDEO]


def geometry_of(language: str, sight: str) -> Geometry:
    """Of the small model that stands for them."""
    return model_of(language, sight).geometry_for(FRAMES if sight == VIDEO else 0)


def method_for(name: str, geometry: Geometry) -> Reduction:
    """A method that keeps about half, where it takes a budget, else as its name alone says; InputError: refused."""
    takes_budget = method_class(name).from_budget.__func__ is not Reduction.from_budget.__func__
    return resolve({"method": name, "retain": geometry.most_tokens // 2} if takes_budget else name, geometry)


def refusals() -> dict[tuple[str, str], dict[str, str]]:
    """For each method and sight the language models that refuse them, and why."""
    geometries = {(language, sight): geometry_of(language, sight) for language in LANGUAGE for sight in SIGHTS}
    found: dict[tuple[str, str], dict[str, str]] = {(name, sight): {} for name in available() for sight in SIGHTS}
    for (name, sight), reasons in found.items():
        for language in LANGUAGE:
            try:
                method_for(name, geometries[language, sight])
            except InputError as refused:
                reasons[language] = re.split(": got |; ", str(refused))[0].replace(name, "the method")
    return found


def table() -> str:
    """In Markdown: a row for each method, a column for each tower, reasons below."""
    found, notes = refusals(), list[str]()

    def mark(reason: str) -> str:
        if reason not in notes:
            notes.append(reason)
        return f"<sup>{notes.index(reason) + 1}</sup>"

    lines = [f"| method | language models | {' | '.join(SIGHTS)} |", f"|---|---|{'---|' * len(SIGHTS)}"]
    for name in available():
        cells = [found[name, sight] for sight in SIGHTS]
        out = [language for language in LANGUAGE if all(language in cell for cell in cells)]
        out = [] if len(out) == len(LANGUAGE) else out
        first = ", ".join(f"{language}{mark(cells[0][language])}" for language in out)
        row = [f"all but {first}" if first else "all"]
        for cell in cells:
            left = {language: reason for language, reason in cell.items() if language not in out}
            marks = "".join(dict.fromkeys(map(mark, left.values())))
            some = f"not {', '.join(left)}{marks}" if left else "yes"
            row.append(f"no{marks}" if len(left) == len(LANGUAGE) - len(out) else some)
        lines.append(f"| `{name}` | {' | '.join(row)} |")
    lines += ["", *(f"{number}. {note}" for number, note in enumerate(notes, 1))]
    return f"\nLanguage models: {'; '.join(LANGUAGE)}.\n\n" + "\n".join(lines) + "\n\n"


def parts() -> tuple[str, str, str]:
    """The docs' page before its table, the table, and what follows."""
    before, rest = DOCS.read_text().split(BEGIN)
    now, after = rest.split(END)
    return before, now, after


if __name__ == "__main__":
    before, _, after = parts()
    DOCS.write_text(before + BEGIN + table() + END + after)
    sys.stdout.write(f"written to {DOCS}\n")
