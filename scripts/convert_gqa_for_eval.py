"""Make the file that GQA's evaluation reads: `{"questionId", "prediction"}` for every answer, in their order.

    python scripts/convert_gqa_for_eval.py --src gqa/answers/SPLIT/NAME/merge.jsonl \\
        --dst gqa/data/testdev_balanced_predictions.json

A prediction is the answer without full stops at its end, in lower case. Ids are written as text, as GQA has them.
"""

import json

from llava.eval.benchmarks.answers import repeated, warn
from llava.eval.benchmarks.gqa import prediction_of
from llava.eval.files import read_answer_lines
from llava.eval.runs.command import Parser, run
from llava.files.writing import write_text


def main() -> None:
    """The command."""
    parser = Parser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--src", required=True, help="answers file")
    parser.add_argument("--dst", required=True, help="written; its folder is made")
    args = parser.parse_args()

    answers = [(str(record["question_id"]), record["text"]) for _, record in read_answer_lines(args.src)]
    warn("questions have several answers, all are written", repeated(name for name, _ in answers))
    predictions = [{"questionId": name, "prediction": prediction_of(text)} for name, text in answers]
    write_text(args.dst, json.dumps(predictions))


if __name__ == "__main__":
    run(main)
