"""Make the file that VQAv2's server (EvalAI 830) takes: `{"question_id", "answer"}` for all of test2015.

    python scripts/convert_vqav2_for_submission.py --split llava_vqav2_mscoco_test-dev2015 --ckpt NAME

Reads `DIR/answers/SPLIT/CKPT/merge.jsonl`, writes `DIR/answers_upload/SPLIT/CKPT.json`. The server wants every question
of test2015, also after a run on test-dev alone: what was not asked gets an empty answer.
"""

from pathlib import Path

from llava.eval.benchmarks.vqa import check_known, read_questions, read_results
from llava.eval.benchmarks.vqa_upload import summary, upload, warn, warn_repeated
from llava.eval.runs.command import Parser, run
from llava.files.writing import write_text

WHOLE = "llava_vqav2_mscoco_test2015.jsonl"


def main() -> None:
    """The command."""
    parser = Parser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--dir", default="./playground/data/eval/vqav2", help="the benchmark's folder")
    parser.add_argument("--ckpt", required=True, help="name of the run: a folder below the answers of the split")
    parser.add_argument("--split", required=True, help="name of the question file that was asked, without .jsonl")
    args = parser.parse_args()

    folder = Path(args.dir)
    answers_file = str(folder / "answers" / args.split / args.ckpt / "merge.jsonl")
    split = read_questions(str(folder / WHOLE))
    results = read_results(answers_file)
    print(summary(results, split))
    warn_repeated(results)
    check_known(results.texts, {line["question_id"] for line in split}, answers_file, str(folder / WHOLE))
    question_file = folder / f"{args.split}.jsonl"
    asked = read_questions(str(question_file)) if question_file.exists() else split
    missing = [line["question_id"] for line in asked if line["question_id"] not in results.texts]
    warn("questions have no answer and get an empty one", missing)
    output = folder / "answers_upload" / args.split / f"{args.ckpt}.json"
    write_text(str(output), upload(split, results.texts, "question_id"))


if __name__ == "__main__":
    run(main)
