"""Make the file that SEED-Bench's leaderboard takes: `{"question_id", "prediction"}`, a line per question.

    python scripts/convert_seed_for_submission.py --annotation-file seed_bench/SEED-Bench.json \\
        --result-file seed_bench/answers/NAME/merge.jsonl --result-upload-file seed_bench/answers_upload/NAME.jsonl

Prints the accuracies too; `python -m llava.eval.eval_seed` does only that.
"""

from llava.eval.benchmarks.seed import read_questions, read_texts, upload
from llava.eval.benchmarks.vqa import check_answered
from llava.eval.eval_seed import accuracy, by_data, by_type, report
from llava.eval.runs.command import Parser, run
from llava.files.writing import write_text


def main() -> None:
    """The command."""
    parser = Parser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--annotation-file", required=True, help="SEED-Bench.json")
    parser.add_argument("--result-file", required=True, help="answers file")
    parser.add_argument("--result-upload-file", required=True, help="written; its folder is made")
    args = parser.parse_args()

    questions, kinds = read_questions(args.annotation_file)
    texts = read_texts(args.result_file, questions, args.annotation_file)
    print(report(by_type(questions, texts, kinds), accuracy(questions, texts), by_data(questions, texts)))
    check_answered((question.question_id for question in questions), texts, args.result_file)
    write_text(args.result_upload_file, upload(questions, texts))


if __name__ == "__main__":
    run(main)
