"""Score VQAv2 where the answers are public (val2014), as its server does: overall, by question and by answer type.

    python -m llava.eval.eval_vqav2 --annotation-file v2_mscoco_val2014_annotations.json --result-file ANSWERS.jsonl

The result file is an upload file, or an answers file, whose texts are then normalised as in an upload file first. The
rule is that of the official `vqaEval.py`. For test-dev see `scripts/convert_vqav2_for_submission.py`.
"""

from llava.eval.benchmarks.answers import check_answered, check_known, warn
from llava.eval.benchmarks.options import add_answers_options
from llava.eval.benchmarks.vqa import answers_of, is_upload, read_ids, read_predictions, read_upload
from llava.eval.benchmarks.vqa_report import by_kind, per_cent, report
from llava.eval.benchmarks.vqa_text import normalise_official, one_line, soft_accuracy
from llava.eval.benchmarks.vqav2 import read_truth
from llava.eval.results.scores import print_scores
from llava.eval.runs.command import Parser, run


def accuracy(prediction: str, answers: list[str]) -> float:
    """Soft accuracy of one prediction, 0..1. Nothing is normalised when all annotators wrote the very same."""
    prediction, answers = one_line(prediction), [one_line(answer) for answer in answers]
    if len(set(answers)) > 1:
        prediction, answers = normalise_official(prediction), [normalise_official(answer) for answer in answers]
    return soft_accuracy(prediction, answers)


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.eval_vqav2", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--annotation-file", required=True, help="v2_mscoco_val2014_annotations.json")
    parser.add_argument("--question-file", help="JSON lines with question_id; only these questions are scored")
    add_answers_options(parser, result="answers file, or upload file")
    args = parser.parse_args()

    truth = read_truth(args.annotation_file)
    if args.question_file:
        asked = read_ids(args.question_file)
        check_known(asked, truth, args.question_file, args.annotation_file)
        truth = {question_id: truth[question_id] for question_id in asked}
    if args.check:
        return
    upload = is_upload(args.result_file)
    predictions = read_upload(args.result_file, "question_id") if upload else read_predictions(args.result_file)
    check_known(predictions, truth, args.result_file, args.question_file or args.annotation_file)
    missing = check_answered(truth, predictions, args.result_file, args.allow_missing)
    truth = {key: record for key, record in truth.items() if key in predictions}
    empty = [key for key in truth if not predictions[key].strip()]
    warn("answers are empty", empty)

    scores = [accuracy(predictions[key], answers_of(record, args.annotation_file)) for key, record in truth.items()]
    overall = per_cent(scores)
    question_types = by_kind((record["question_type"] for record in truth.values()), scores)
    answer_types = by_kind((record["answer_type"] for record in truth.values()), scores)
    print(report(overall, {"Question Type": question_types, "Answer Type": answer_types}))
    details = {"questions": len(scores), "missing": len(missing), "undecided": len(empty)}
    types = {"question_types": question_types, "answer_types": answer_types}
    print_scores("vqav2", "soft accuracy", overall, **details, **types)


if __name__ == "__main__":
    run(main)
