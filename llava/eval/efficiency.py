"""The efficiency tables of papers beside our counts, with the text length at which they meet; nothing is run.

    python -m llava.eval.efficiency

The papers' times are theirs, on their GPUs.
"""

import json

from llava.eval.runs.command import Parser, run
from llava.eval.speed.published_cost import PUBLISHED, beside, beside_table
from llava.files.writing import write_text


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.efficiency", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", help="also write the rows here")
    args = parser.parse_args()
    found = {paper: beside(lines) for paper, lines in PUBLISHED.items()}
    print("\n\n".join(f"{paper}\n\n{beside_table(rows)}" for paper, rows in found.items()))
    if args.json:
        write_text(args.json, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
