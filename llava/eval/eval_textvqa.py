"""Score TextVQA: the soft accuracy of ten annotators after m4c's normalisation.

    python -m llava.eval.eval_textvqa --annotation-file TextVQA_0.5.1_val.json --result-file ANSWERS.jsonl

Rule and printed form are those of LLaVA's `eval_textvqa.py`. The question id of the question file is the image's, so a
question is found by image and text, the text being taken out of the saved prompt. `--result-dir` scores every
`*.jsonl` of a folder.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

from llava.errors import InputError
from llava.eval.benchmarks.vqa import check_annotations, named
from llava.eval.benchmarks.vqa_text import normalise_m4c, soft_accuracy
from llava.eval.files import read_jsonl
from llava.eval.results.scores import print_scores, ratio
from llava.eval.runs.command import Parser, run
from llava.files.reading import read_json

Question = tuple[str, str]  # image id, lower-cased question
ANNOTATORS = 10
OCR_FIRST, OCR_LINE = "OCR tokens: ", "Reference OCR token: "


def question_of(prompt: str) -> str | None:
    """The lower-cased question in a saved prompt, and None for a prompt of no known form.

    Forms: `OCR tokens: ... Question: Q Short answer:`; three lines of which one is the OCR tokens (then Q is the
    second line if they are the first, else the first); Q and an instruction.
    """
    lines = prompt.split("\n")
    question: str | None = None
    if prompt.startswith(OCR_FIRST):
        found = re.search(r"Question: (.*?) Short answer:", prompt, re.DOTALL)
        question = found and found[1]
    elif OCR_LINE in prompt and len(lines) == 3:
        question = lines[1] if prompt.startswith(OCR_LINE.strip()) else lines[0]
    elif len(lines) == 2:
        question = lines[0]
    return question if question is None else question.lower()


def read_truth(path: str) -> dict[Question, list[str]]:
    """The annotators' answers to every question of TextVQA's annotation file."""
    content = read_json(path, "TextVQA's annotations")
    records = content.get("data") if isinstance(content, dict) else None
    truth = {}
    for record in check_annotations(records, ("image_id", "question"), path):
        answers = record["answers"]
        if len(answers) != ANNOTATORS or not all(isinstance(answer, str) for answer in answers):
            raise InputError(f"a TextVQA question has {ANNOTATORS} answers, texts: '{path}' has {answers!r}")
        truth[str(record["image_id"]), str(record["question"]).lower()] = answers
    return truth


def read_predictions(path: str, truth: dict[Question, list[str]]) -> dict[Question, str]:
    """The answers of a file by question.

    Raises:
        InputError: as `read_jsonl`, and for a prompt that holds no question or one that is not in `truth`, and for a
            question that is answered twice.
    """
    predictions: dict[Question, str] = {}
    for where, record in read_jsonl(path, ("question_id", "prompt", "text"), "an answers file"):
        if not isinstance(record["prompt"], str) or not isinstance(record["text"], str):
            raise InputError(f"prompt and text of an answer are texts: {where} has other things; mend it")
        text = question_of(record["prompt"])
        if text is None:
            raise InputError(
                f"a prompt is a question, an instruction and maybe '{OCR_LINE}': {where} has {record['prompt']!r}; "
                f"answer the published question file"
            )
        question = (str(record["question_id"]), text)
        if question not in truth:
            raise InputError(
                f"answers must be those to the annotated questions: {where} asks {text!r} about "
                f"{record['question_id']!r}, which is not annotated; give the files of the same split"
            )
        if question in predictions:
            raise InputError(
                f"an answers file holds one answer per question: {where} answers {text!r} again; remove it"
            )
        predictions[question] = record["text"]
    return predictions


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


def score_file(path: str, truth: dict[Question, list[str]]) -> None:
    """Print the score of one answers file."""
    experiment = Path(path).stem
    predictions = read_predictions(path, truth)
    score = accuracy(predictions, truth)
    print(experiment)
    print(report(len(predictions), score))
    missing = [image for image, text in truth if (image, text) not in predictions]
    if missing:
        print(
            f"WARNING: {experiment} answers {len(predictions)} of {len(truth)} questions; without those about "
            f"{named(missing)} the score is not TextVQA's",
            file=sys.stderr,
        )
    details: dict[str, Any] = {"experiment": experiment, "samples": len(predictions), "missing": len(missing)}
    print_scores("textvqa", "soft accuracy", 100.0 * score, **details)


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.eval_textvqa", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--annotation-file", required=True, help="TextVQA_0.5.1_val.json")
    parser.add_argument("--result-file", help="answers file")
    parser.add_argument("--result-dir", help="folder of answers files")
    args = parser.parse_args()
    if not args.result_file and not args.result_dir:
        parser.error("--result-file or --result-dir must say what to score")
    truth = read_truth(args.annotation_file)
    if args.result_file:
        score_file(args.result_file, truth)
    names = sorted(os.listdir(args.result_dir)) if args.result_dir else []
    for name in names:
        if not name.endswith(".jsonl"):
            print(f"Skipping {name}")
    files = [name for name in names if name.endswith(".jsonl")]
    if args.result_dir and not files:
        raise InputError(f"--result-dir must hold answers files: '{args.result_dir}' has no *.jsonl; check the path")
    for name in files:
        score_file(os.path.join(args.result_dir, name), truth)


if __name__ == "__main__":
    run(main)
