"""Make the file that MMBench's server takes: the table without its pictures, with a column of predictions.

    python scripts/convert_mmbench_for_submission.py --annotation-file mmbench/mmbench_dev_20230712.tsv \\
        --result-dir mmbench/answers/SPLIT --upload-dir mmbench/answers_upload/SPLIT --experiment NAME

Reads `RESULT_DIR/NAME.jsonl`, writes `UPLOAD_DIR/NAME.xlsx`.
"""

import io
import re
import sys
from pathlib import Path
from typing import Any

from llava.errors import InputError
from llava.eval.benchmarks.mmbench import read_table
from llava.eval.benchmarks.vqa import check_known, read_results
from llava.eval.benchmarks.vqa_upload import summary, warn, warn_repeated
from llava.eval.runs.command import Parser, run
from llava.files.writing import write_bytes

DROPPED = ("hint", "category", "source", "image", "comment", "l2-category")
UNWRITABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")  # control characters that XML cannot hold
FIRST = ("index", "question", "A", "B", "C", "D")  # the predictions come behind them


def sheet(table: Any, texts: dict[Any, str]) -> Any:
    """The upload's table from MMBench's and the answers by index; a row without answer stays empty."""
    upload = table.drop(columns=list(DROPPED))
    upload.insert(len(FIRST), "prediction", upload["index"].map(texts))
    return upload


def workbook(upload: Any) -> bytes:
    """The contents of the .xlsx file; InputError when openpyxl is not installed."""
    content = io.BytesIO()
    try:
        upload.to_excel(content, index=False, engine="openpyxl")
    except ImportError:
        raise InputError("a workbook needs openpyxl, which is not installed; pip install 'visiondrop[eval]'") from None
    return content.getvalue()


def main() -> None:
    """The command."""
    parser = Parser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--annotation-file", required=True, help="the table that was asked")
    parser.add_argument("--result-dir", required=True, help="folder of answers files")
    parser.add_argument("--upload-dir", required=True, help="folder of the workbook; made if it is not there")
    parser.add_argument("--experiment", required=True, help="name of the answers file, without .jsonl")
    args = parser.parse_args()

    table = read_table(args.annotation_file, (*FIRST, *DROPPED))
    if "answer" not in table.columns:
        print("WARNING: the table has no column answer; the server may want one, even empty", file=sys.stderr)
    answers_file = str(Path(args.result_dir) / f"{args.experiment}.jsonl")
    results = read_results(answers_file)
    indices = table["index"].tolist()
    print(summary(results, indices))
    # Several answers are the rounds of --all-rounds; LLaVA's converter lets the last one win, and so does this.
    warn_repeated(results)
    check_known(results.texts, set(indices), answers_file, args.annotation_file)
    warn("rows have no answer and get none", [index for index in indices if index not in results.texts])
    odd = [index for index, text in results.texts.items() if UNWRITABLE.search(text)]
    warn("answers hold control characters, which a workbook cannot; they are left out", odd)
    texts = {index: UNWRITABLE.sub("", text) for index, text in results.texts.items()}
    write_bytes(str(Path(args.upload_dir) / f"{args.experiment}.xlsx"), workbook(sheet(table, texts)))


if __name__ == "__main__":
    run(main)
