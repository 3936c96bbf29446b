"""Make the file that SEED-Bench's leaderboard takes: `{"question_id", "prediction"}`, a line per question.

    python scripts/convert_seed_for_submission.py --annotation-file seed_bench/SEED-Bench.json \\
        --result-file seed_bench/answers/NAME/merge.jsonl --result-upload-file seed_bench/answers_upload/NAME.jsonl

Prints the accuracies too; `python -m llava.eval.eval_seed` does only that. Where no question about videos is answered,
the file holds the others.
"""

from llava.eval.benchmarks.options import add_upload_options
from llava.eval.benchmarks.seed import asked_of, read_questions, read_texts, upload
from llava.eval.eval_seed import accuracy, by_data, by_type, report
from llava.eval.runs.command import Parser, run
from llava.files.writing import write_text


def main() -> None:
    """The command."""
    parser = Parser(description=(__doc__ or "").split("\n")[0])
    add_upload_options(parser, "SEED-Bench.json")
    args = parser.parse_args()

    questions, kinds = read_questions(args.annotation_file)
    if args.check:
        return
    texts = read_texts(args.result_file, questions, args.annotation_file)
    asked, _ = asked_of(questions, texts, args.result_file, args.allow_missing, "are left out of the file")
    print(report(by_type(asked, texts, kinds), accuracy(asked, texts), by_data(asked, texts)))
    write_text(args.result_upload_file, upload(asked, texts))


if __name__ == "__main__":
    run(main)
