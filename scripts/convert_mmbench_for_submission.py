"""Make the file that MMBench's server took: the table without its pictures, with a column of predictions.

    python scripts/convert_mmbench_for_submission.py --annotation-file mmbench/mmbench_dev_20230712.tsv \\
        --result-dir mmbench/answers/SPLIT --upload-dir mmbench/answers_upload/SPLIT --experiment NAME

Reads `RESULT_DIR/NAME.jsonl`, writes `UPLOAD_DIR/NAME.xlsx`. The server closed on 31 March 2026; other
tools (VLMEvalKit) read the file too.
"""

import sys
from pathlib import Path

from llava.eval.benchmarks.answers import check_answered, check_known, read_results
from llava.eval.benchmarks.mmbench import read_table
from llava.eval.benchmarks.mmbench_workbook import FIRST, check_openpyxl, sheet, workbook
from llava.eval.benchmarks.options import add_check_option, add_missing_option, check_inside
from llava.eval.benchmarks.vqa_upload import summary, warn_odd
from llava.eval.runs.command import Parser, run
from llava.files.writing import write_bytes

EMPTY = "get an empty one"


def main() -> None:
    """The command."""
    parser = Parser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--annotation-file", required=True, help="the table that was asked")
    parser.add_argument("--result-dir", required=True, help="folder of answers files")
    parser.add_argument("--upload-dir", required=True, help="folder of the workbook; made if it is not there")
    parser.add_argument("--experiment", required=True, help="name of the answers file, without .jsonl")
    add_missing_option(parser, EMPTY)
    add_check_option(parser)
    args = parser.parse_args()

    check_inside(args.experiment, "--experiment")
    check_openpyxl()
    table = read_table(args.annotation_file, FIRST)
    if args.check:
        return
    if "answer" not in table.columns:
        print("WARNING: the table has no column answer; the server wanted one, even empty", file=sys.stderr)
    answers_file = str(Path(args.result_dir) / f"{args.experiment}.jsonl")
    results = read_results(answers_file)
    indices = [str(index) for index in table["index"].tolist()]
    print(summary(results, indices))
    # Several answers are the rounds of --all-rounds; LLaVA's converter lets the last one win, and so does this.
    warn_odd(results)
    check_known(results.texts, set(indices), answers_file, args.annotation_file)
    check_answered(indices, results.texts, answers_file, args.allow_missing, EMPTY)
    write_bytes(str(Path(args.upload_dir) / f"{args.experiment}.xlsx"), workbook(sheet(table, results.texts)))


if __name__ == "__main__":
    run(main)
