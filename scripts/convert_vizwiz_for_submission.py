"""Make the file that VizWiz's server (EvalAI 2185) takes: `{"image", "answer"}` for every question, in their order.

    python scripts/convert_vizwiz_for_submission.py --annotation-file vizwiz/llava_test.jsonl \\
        --result-file vizwiz/answers/NAME.jsonl --result-upload-file vizwiz/answers_upload/NAME.json
"""

from llava.eval.benchmarks.answers import check_answered, check_known, read_results
from llava.eval.benchmarks.options import add_upload_options
from llava.eval.benchmarks.vqa import read_questions
from llava.eval.benchmarks.vqa_upload import summary, upload, warn_odd
from llava.eval.runs.command import Parser, run
from llava.files.writing import write_text


def main() -> None:
    """The command."""
    parser = Parser(description=(__doc__ or "").split("\n")[0])
    add_upload_options(parser, "llava_test.jsonl")
    args = parser.parse_args()

    split = read_questions(args.annotation_file, "image")
    if args.check:
        return
    results = read_results(args.result_file)
    print(summary(results, split))
    warn_odd(results)
    asked = dict.fromkeys(str(line["question_id"]) for line in split)
    check_known(results.texts, asked, args.result_file, args.annotation_file)
    missing = set(check_answered(asked, results.texts, args.result_file, args.allow_missing))
    split = [line for line in split if str(line["question_id"]) not in missing]
    write_text(args.result_upload_file, upload(split, results.texts, "image"))


if __name__ == "__main__":
    run(main)
