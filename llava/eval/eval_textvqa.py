"""Score TextVQA: the soft accuracy of ten annotators after m4c's normalisation.

    python -m llava.eval.eval_textvqa --annotation-file TextVQA_0.5.1_val.json --result-file ANSWERS.jsonl

Rule and printed form are those of LLaVA's `eval_textvqa.py`. The question id of the question file is the picture's.
`--result-dir` scores every `*.jsonl` of a folder.
"""

from pathlib import Path
from typing import Any

from llava.errors import InputError
from llava.eval.benchmarks.answers import check_answered, warn
from llava.eval.benchmarks.options import add_check_option, add_missing_option
from llava.eval.benchmarks.textvqa import Question, Truth, read_predictions, read_truth
from llava.eval.benchmarks.vqa_text import normalise_m4c, soft_accuracy
from llava.eval.results.scores import print_scores, ratio
from llava.eval.runs.command import Parser, run
from llava.files.reading import files_in


def accuracy(predictions: dict[Question, str], truth: dict[Question, list[str]]) -> float:
    """The mean soft accuracy of the predictions, 0..1; everything is normalised."""
    scores = (
        soft_accuracy(normalise_m4c(text), [normalise_m4c(answer) for answer in truth[question]])
        for question, text in predictions.items()
    )
    return ratio(sum(scores), len(predictions))


def report(samples: int, score: float) -> str:
    """The official lines below an experiment's name; `score` in 0..1."""
    return f"Samples: {samples}\nAccuracy: {100.0 * score:.2f}%\n"


def score_file(path: str, truth: Truth, allow_missing: bool) -> None:
    """Print the score of one answers file."""
    experiment = Path(path).stem
    predictions = read_predictions(path, truth)
    names = {question: " ".join(question) for question in truth.answers}
    answered = {names[question] for question in predictions}
    missing = check_answered(names.values(), answered, path, allow_missing)
    empty = [names[question] for question, text in predictions.items() if not text.strip()]
    warn("answers are empty", empty)
    score = accuracy(predictions, truth.answers)
    print(experiment)
    print(report(len(predictions), score))
    details: dict[str, Any] = {"experiment": experiment, "samples": len(predictions)}
    details |= {"missing": len(missing), "undecided": len(empty)}
    print_scores("textvqa", "soft accuracy", 100.0 * score, **details)


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.eval_textvqa", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--annotation-file", required=True, help="TextVQA_0.5.1_val.json")
    parser.add_argument("--result-file", help="answers file")
    parser.add_argument("--result-dir", help="folder of answers files")
    add_missing_option(parser, "left out of the score")
    add_check_option(parser)
    args = parser.parse_args()
    if not args.result_file and not args.result_dir:
        parser.error("--result-file or --result-dir must say what to score")
    truth = read_truth(args.annotation_file)
    if args.check:
        return
    if args.result_file:
        score_file(args.result_file, truth, args.allow_missing)
    listed = files_in(args.result_dir) if args.result_dir else []
    for file in listed:
        if file.suffix != ".jsonl":
            print(f"Skipping {file.name}")
    files = [file for file in listed if file.suffix == ".jsonl"]
    if args.result_dir and not files:
        raise InputError(f"--result-dir must hold answers files: '{args.result_dir}' has no *.jsonl; check the path")
    for file in files:
        score_file(str(file), truth, args.allow_missing)


if __name__ == "__main__":
    run(main)
