"""Small copies of MMBench's tables in their published format; see `published`."""

import base64
import io
from pathlib import Path

from PIL import Image

COLUMNS = ["index", "question", "hint", "A", "B", "C", "D", "answer", "category", "image", "source"]
COLUMNS += ["l2-category", "comment", "split"]


def write_table(path: Path, text: str, hint: str, answers: bool, split: str) -> None:
    """Two questions of four and three options with their circular copies, in MMBench's TSV."""
    rows = []
    for base, options in ((241, ["The ball", "The box", "Both", "None of them"]), (252, ["Red", "Blue", "Green"])):
        data = io.BytesIO()
        Image.new("RGBA" if base == 252 else "RGB", (40, 56), (base % 256, 60, 90)).save(data, "PNG")
        image, size = base64.b64encode(data.getvalue()).decode(), len(options)
        for turn in range(size):
            shown = options[size - turn :] + options[: size - turn]
            cells = {"index": base + 1000000 * turn, "question": text, "hint": hint if base == 241 else ""}
            cells |= dict(zip("ABCD", shown + [""] * (4 - size)))
            cells |= {"answer": "ABCD"[(1 + turn) % size] if answers else "", "category": "physical_relation"}
            cells |= {"image": image, "source": "web", "l2-category": "relation_reasoning", "comment": ""}
            rows.append(cells | {"split": split})
    path.parent.mkdir(parents=True, exist_ok=True)
    table = ["\t".join(str(row[name]) for name in COLUMNS) for row in rows]
    path.write_text("\n".join(["\t".join(COLUMNS), *table]) + "\n", encoding="utf-8")


def mmbench(folder: Path) -> None:
    """The dev table with answers."""
    write_table(folder / "mmbench/mmbench_dev_20230712.tsv", "Which is heavier?", "Look at it.", True, "dev")


def mmbench_cn(folder: Path) -> None:
    """The Chinese dev table with answers."""
    write_table(folder / "mmbench_cn/mmbench_dev_cn_20231003.tsv", "哪个更重?", "看图。", True, "dev")
