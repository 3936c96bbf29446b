"""Make the file that MM-Vet's grader takes: `{"v1_<id>": answer}`.

    python scripts/convert_mmvet_for_eval.py --src mm-vet/answers/NAME.jsonl --dst mm-vet/results/NAME.json

The grader is GPT-4 and no part of this package.
"""

import json

from llava.eval.benchmarks.answers import check_answered, check_known, repeated, warn
from llava.eval.benchmarks.options import add_check_option, add_missing_option
from llava.eval.benchmarks.vqa import read_ids
from llava.eval.files import read_answer_lines
from llava.eval.runs.command import Parser, run
from llava.files.writing import write_text


def main() -> None:
    """The command."""
    parser = Parser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--src", required=True, help="answers file")
    parser.add_argument("--dst", required=True, help="written; its folder is made")
    parser.add_argument("--question-file", help="llava-mm-vet.jsonl; its questions must be those answered")
    add_missing_option(parser, "left out of the file")
    add_check_option(parser)
    args = parser.parse_args()

    asked = read_ids(args.question_file) if args.question_file else None
    if args.check:
        return
    answers = [(str(record["question_id"]), record["text"]) for _, record in read_answer_lines(args.src)]
    texts = dict(answers)
    if asked is not None:
        check_known(texts, asked, args.src, args.question_file)
        check_answered(asked, texts, args.src, args.allow_missing)
    warn("questions have several answers, the last one counts", repeated(name for name, _ in answers))
    warn("answers are empty", [name for name, text in texts.items() if not text.strip()])
    write_text(args.dst, json.dumps({f"v1_{name}": text for name, text in texts.items()}, indent=2))


if __name__ == "__main__":
    run(main)
