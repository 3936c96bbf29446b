"""Write the shapes benchmark as tasks of lmms-eval, to try it without a hub.

    python -m llava.eval.harness.shapes_task --output playground/data/lmms
    lmms-eval --model visiondrop --model_args pretrained=playground/shapes/llava-shapes,retain=28 --tasks shapes \\
        --include_path playground/data/lmms

Two tasks on one table of questions and pictures: `shapes` is answered, in `shapes_likelihood` the likeliest of the
benchmark's answers of that kind counts. The same score as `llava.eval.eval_shapes` for the first.
"""

import io
import json
from pathlib import Path
from typing import Any

from llava.errors import InputError
from llava.eval.benchmarks.answers import check_known
from llava.eval.benchmarks.shapes import FOLDER, read_truth
from llava.eval.files import read_jsonl
from llava.eval.runs.command import Parser, run
from llava.files.reading import read_bytes
from llava.files.writing import replacing, write_text

# Without case and without a full stop at the end, as `eval_shapes` compares; a task file in JSON is one in YAML.
EXACT = {
    "metric": "exact_match",
    "aggregation": "mean",
    "higher_is_better": True,
    "ignore_case": True,
    "regexes_to_ignore": [r"^\s+", r"\s*\.?\s*$"],
}


def task(table: Path, name: str, **own: Any) -> dict[str, Any]:
    """A task's configuration; its data by an absolute path, since lmms-eval's versions differ in what one is from."""
    return {
        "task": name,
        "dataset_path": "parquet",
        "dataset_kwargs": {"data_files": {"test": str(table.resolve())}},
        "test_split": "test",
        "doc_to_visual": "image",
        "doc_to_text": "{{text}}",
        **own,
        "metadata": [{"version": 1.0}],
    }


def records(question_file: str, annotation_file: str, image_folder: str) -> list[dict[str, Any]]:
    """A row for each question: its text and kind, the right answer and the kind's answers, the picture's bytes."""
    truth = read_truth(annotation_file)
    questions = {
        str(record["question_id"]): record
        for _, record in read_jsonl(question_file, ("question_id", "image", "text"), "questions", ("image", "text"))
    }
    check_known(questions, truth, question_file, annotation_file)
    answers: dict[str, list[str]] = {}
    for record in truth.values():
        known = answers.setdefault(record["category"], [])
        if record["answer"] not in known:
            known.append(record["answer"])
    return [
        {
            "question_id": name,
            "text": asked["text"],
            "category": truth[name]["category"],
            "answer": truth[name]["answer"],
            "choices": sorted(answers[truth[name]["category"]]),
            "image": {"bytes": read_bytes(Path(image_folder, asked["image"]), "a picture"), "path": asked["image"]},
        }
        for name, asked in questions.items()
    ]


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """A parquet file in which the column `image` holds pictures."""
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            "tasks of lmms-eval need its libraries: datasets is missing; install visiondrop[lmms]"
        ) from error
    kinds = {name: datasets.Value("string") for name in ("question_id", "text", "category", "answer")}
    features = datasets.Features(
        {**kinds, "choices": datasets.List(datasets.Value("string")), "image": datasets.Image()}
    )
    content = io.BytesIO()
    datasets.Dataset.from_list(rows, features=features).to_parquet(content)
    with replacing(path) as unfinished:
        Path(unfinished).write_bytes(content.getvalue())


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.harness.shapes_task", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", required=True, metavar="FOLDER", help="for --include_path of lmms-eval")
    parser.add_argument("--question-file", default=f"{FOLDER}/questions.jsonl", help="what is asked")
    parser.add_argument("--annotation-file", default=f"{FOLDER}/answers.jsonl", help="the right answers")
    parser.add_argument("--image-folder", default=f"{FOLDER}/images", help="the pictures")
    args = parser.parse_args()

    rows = records(args.question_file, args.annotation_file, args.image_folder)
    table = Path(args.output, "shapes.parquet")
    write_table(table, rows)
    said = {"doc_to_target": "answer", "generation_kwargs": {"max_new_tokens": 8, "temperature": 0, "do_sample": False}}
    likely = {"doc_to_target": "{{choices.index(answer)}}", "doc_to_choice": "choices", "target_delimiter": ""}
    accuracy = {"metric": "acc", "aggregation": "mean", "higher_is_better": True}
    for one in (
        task(table, "shapes", output_type="generate_until", **said, metric_list=[EXACT]),
        task(table, "shapes_likelihood", output_type="multiple_choice", **likely, metric_list=[accuracy]),
    ):
        write_text(Path(args.output, f"{one['task']}.yaml"), json.dumps(one, indent=2) + "\n")
    print(f"{len(rows)} questions in {table}; lmms-eval finds its tasks with --include_path {args.output}")


if __name__ == "__main__":
    run(main)
