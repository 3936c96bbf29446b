"""Make the file that VizWiz's server (EvalAI 2185) takes: `{"image", "answer"}` for every question, in their order.

    python scripts/convert_vizwiz_for_submission.py --annotation-file vizwiz/llava_test.jsonl \\
        --result-file vizwiz/answers/NAME.jsonl --result-upload-file vizwiz/answers_upload/NAME.json
"""

from llava.eval.benchmarks.vqa import check_answered, check_known, read_questions, read_results
from llava.eval.benchmarks.vqa_upload import summary, upload, warn_repeated
from llava.eval.runs.command import Parser, run
from llava.files.writing import write_text


def main() -> None:
    """The command."""
    parser = Parser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--annotation-file", required=True, help="llava_test.jsonl")
    parser.add_argument("--result-file", required=True, help="answers file")
    parser.add_argument("--result-upload-file", required=True, help="written; its folder is made")
    args = parser.parse_args()

    split = read_questions(args.annotation_file, "image")
    results = read_results(args.result_file)
    print(summary(results, split))
    warn_repeated(results)
    asked = dict.fromkeys(line["question_id"] for line in split)
    check_known(results.texts, asked, args.result_file, args.annotation_file)
    check_answered(asked, results.texts, args.result_file)
    write_text(args.result_upload_file, upload(split, results.texts, "image"))


if __name__ == "__main__":
    run(main)
