"""The table of docs/hf.md: which method goes with which of transformers' classes. Printed by running this file."""

from llava.hf.families import FAMILIES
from llava.reduction.registry import available, method_class

SHORT = {name: name.removesuffix("ForConditionalGeneration") for name in FAMILIES}


# Why a method that does not read the question is refused; `llava.hf.families` says it at length.
SHORTLY = {
    "downsample": "a square picture",
    "pool": "square views",
    "prumerge": "a [CLS]",
    "tome": "the tower's patches",
}


def table() -> str:
    """Markdown: a row for each method, a column for each class."""
    lines = [f"| method | {' | '.join(SHORT.values())} |", "|---" * (1 + len(SHORT)) + "|"]
    for method in available():
        marks = []
        for family in FAMILIES.values():
            asks = method_class(method).question_at_encoder
            wants = f"wants {SHORTLY[method]}" if method in family.refused else "tested"
            gaps = method_class(method).positions_at_entry
            marks.append("reads the question" if asks else "leaves gaps" if gaps else wants)
        lines.append(f"| `{method}` | {' | '.join(marks)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())  # noqa: T201
