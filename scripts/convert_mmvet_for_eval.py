"""Make the file that MM-Vet's grader takes: `{"v1_<id>": answer}`.

    python scripts/convert_mmvet_for_eval.py --src mm-vet/answers/NAME.jsonl --dst mm-vet/results/NAME.json

The grader is GPT-4 and no part of this package.
"""

import json

from llava.eval.benchmarks.vqa import check_answered, check_known, read_questions, repeated
from llava.eval.benchmarks.vqa_upload import warn
from llava.eval.files import read_answer_lines
from llava.eval.runs.command import Parser, run
from llava.files.writing import write_text


def main() -> None:
    """The command."""
    parser = Parser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--src", required=True, help="answers file")
    parser.add_argument("--dst", required=True, help="written; its folder is made")
    parser.add_argument("--question-file", help="llava-mm-vet.jsonl; its questions must be those answered")
    args = parser.parse_args()

    answers = [record for _, record in read_answer_lines(args.src)]
    texts = {answer["question_id"]: answer["text"] for answer in answers}
    if args.question_file:
        asked = [question["question_id"] for question in read_questions(args.question_file)]
        check_known(texts, asked, args.src, args.question_file)
        check_answered(asked, texts, args.src)
    twice = repeated(answer["question_id"] for answer in answers)
    warn("questions have several answers, the last one counts", twice)
    write_text(args.dst, json.dumps({f"v1_{name}": text for name, text in texts.items()}, indent=2))


if __name__ == "__main__":
    run(main)
