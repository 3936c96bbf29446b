"""Make the file that VQAv2's server (EvalAI 830) takes: `{"question_id", "answer"}` for all of test2015.

    python scripts/convert_vqav2_for_submission.py --split llava_vqav2_mscoco_test-dev2015 --ckpt NAME

Reads `DIR/answers/SPLIT/CKPT/merge.jsonl`, writes `DIR/answers_upload/SPLIT/CKPT.json`. The server wants every question
of test2015, also after a run on test-dev alone: what was not asked gets an empty answer.
"""

from pathlib import Path

from llava.eval.benchmarks.answers import check_answered, check_known, read_results
from llava.eval.benchmarks.options import add_check_option, add_missing_option, check_inside
from llava.eval.benchmarks.vqa import read_ids, read_questions
from llava.eval.benchmarks.vqa_upload import summary, upload, warn_odd
from llava.eval.runs.command import Parser, run
from llava.files.writing import write_text

WHOLE = "llava_vqav2_mscoco_test2015.jsonl"
EMPTY = "get an empty one"


def main() -> None:
    """The command."""
    parser = Parser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--dir", default="./playground/data/eval/vqav2", help="the benchmark's folder")
    parser.add_argument("--ckpt", required=True, help="name of the run: a folder below the answers of the split")
    parser.add_argument("--split", required=True, help="name of the question file that was asked, without .jsonl")
    add_missing_option(parser, EMPTY)
    add_check_option(parser)
    args = parser.parse_args()
    for name in ("ckpt", "split"):
        check_inside(getattr(args, name), f"--{name}")

    folder = Path(args.dir)
    answers_file = str(folder / "answers" / args.split / args.ckpt / "merge.jsonl")
    split = read_questions(str(folder / WHOLE))
    question_file = folder / f"{args.split}.jsonl"
    asked = read_ids(str(question_file)) if question_file.exists() else None
    if args.check:
        return
    results = read_results(answers_file)
    print(summary(results, split))
    warn_odd(results)
    whole = [str(line["question_id"]) for line in split]
    check_known(results.texts, set(whole), answers_file, str(folder / WHOLE))
    # Without the question file nobody knows what was asked: then all of test2015, of which a part may be answered.
    allow = args.allow_missing or asked is None
    check_answered(whole if asked is None else asked, results.texts, answers_file, allow, EMPTY)
    output = folder / "answers_upload" / args.split / f"{args.ckpt}.json"
    write_text(str(output), upload(split, results.texts, "question_id"))


if __name__ == "__main__":
    run(main)
