"""Answer MMBench's multiple-choice questions from its table.

    python -m llava.eval.model_vqa_mmbench --model-path CHECKPOINT --question-file mmbench_dev_20230712.tsv \\
        --answers-file ANSWERS.jsonl --single-pred-prompt --temperature 0 --conv-mode vicuna_v1 --retain 32

Pictures are in the table; `--image-folder` is accepted and without effect, as in LLaVA.
"""

from typing import Any

from llava.errors import InputError
from llava.eval.benchmarks.mmbench import LETTERS, options_of, present, read_table
from llava.eval.benchmarks.mmbench_images import TableImage, images_of
from llava.eval.model_vqa_science import LETTER_PROMPT
from llava.eval.runs.command import Parser, run
from llava.eval.runs.options import conversation_from
from llava.eval.runs.questions import Question, chunk
from llava.eval.runs.runner import add_runner_options, run_questions

LETTER_PROMPTS = {"cn": "请直接回答选项字母。"}  # any other language: the English one


def rounds_of(row: dict[str, Any], image: TableImage, all_rounds: bool, instruction: str) -> list[Question]:
    """A row's question, and with `all_rounds` its repetitions with the options turned left by one each time.

    `option_char` gives the table's letter of each option as shown. The saved prompt is without instruction.
    """
    options = options_of(row)
    text = f"{row['hint']}\n{row['question']}" if present(row["hint"]) else row["question"]
    questions = []
    for turn in range(len(options) if all_rounds else 1):
        shown, letters = (list(some[turn:]) + list(some[:turn]) for some in (options, LETTERS[: len(options)]))
        prompt = "\n".join([text, *(f"{letter}. {option}" for letter, option in zip(LETTERS, shown))])
        message = f"{prompt}\n{instruction}" if instruction else prompt
        head = {"question_id": row["index"], "round_id": turn, "prompt": prompt}
        questions.append(Question(image.where, message, image, head, {"options": shown, "option_char": letters}))
    return questions


def read_rows(path: str) -> list[tuple[dict[str, Any], TableImage]]:
    """Every row of a table with its picture; InputError for a row without question."""
    table = read_table(path)
    images = images_of(table, path)
    rows = list(zip(table.drop(columns="image").to_dict("records"), images, strict=True))
    empty = next((image.where for row, image in rows if not present(row["question"])), None)
    if empty:
        raise InputError(f"a row needs a question: {empty} has none; fetch the table again")
    return rows


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.model_vqa_mmbench", description=(__doc__ or "").split("\n")[0])
    add_runner_options(parser, "tables/question.jsonl", max_new_tokens=1024)
    parser.add_argument("--all-rounds", action="store_true", help="ask again with the options in every turned order")
    parser.add_argument("--single-pred-prompt", action="store_true", help="ask for the option's letter alone")
    parser.add_argument("--lang", default="en", help="language of that request: cn, or any other for English")
    args = parser.parse_args()
    conv_mode = conversation_from(args, tag_plain_models=True)
    instruction = LETTER_PROMPTS.get(args.lang, LETTER_PROMPT) if args.single_pred_prompt else ""
    # The table is cut by rows, so that all rounds of a question are in one chunk.
    rows = chunk(read_rows(args.question_file), args.num_chunks, args.chunk_idx)
    questions = [question for row, image in rows for question in rounds_of(row, image, args.all_rounds, instruction)]
    own = {"all_rounds": args.all_rounds, "instruction": instruction}
    run_questions(args, questions, conv_mode, already_cut=True, **own)


if __name__ == "__main__":
    run(main)
