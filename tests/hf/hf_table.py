"""The table of docs/hf.md: which method goes with which of transformers' classes. Printed by running this file."""

from llava.hf.families import FAMILIES
from llava.reduction.registry import available, method_class

SHORT = {name: name.removesuffix("ForConditionalGeneration") for name in FAMILIES}


def table() -> str:
    """Markdown: a row for each method, a column for each class."""
    lines = [f"| method | {' | '.join(SHORT.values())} |", "|---" * (1 + len(SHORT)) + "|"]
    for method in available():
        marks = []
        for family in FAMILIES.values():
            asks = method_class(method).question_at_encoder
            marks.append("reads the question" if asks else "tested" if method in family.methods() else "square views")
        lines.append(f"| `{method}` | {' | '.join(marks)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())  # noqa: T201
