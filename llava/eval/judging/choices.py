"""Multiple choice: ScienceQA's problems with a picture, MMBench in every order of its options, SEED-Bench."""

from collections.abc import Sequence
from functools import partial
from operator import eq
from typing import Any

from llava.eval.benchmarks.answers import check_known
from llava.eval.benchmarks.mmbench import CIRCLE
from llava.eval.benchmarks.mmbench_answers import meant
from llava.eval.benchmarks.science_qa import read_problems
from llava.eval.benchmarks.seed import Question as Annotated
from llava.eval.benchmarks.seed import read_questions as read_seed
from llava.eval.eval_mmbench import KINDS, read_rows
from llava.eval.eval_science_qa import index_of, parse
from llava.eval.judging.items import Item, single
from llava.eval.judging.words import id_of, picture_of
from llava.eval.model_vqa_loader import read_questions
from llava.eval.model_vqa_mmbench import LETTER_PROMPTS, rounds_of
from llava.eval.model_vqa_mmbench import read_rows as read_asked
from llava.eval.model_vqa_science import LETTER_PROMPT
from llava.eval.model_vqa_science import read_questions as read_science
from llava.eval.runs.questions import Question

LETTERS = list("ABCDE")


def sqa(question_file: str, annotation_file: str, image_folder: str) -> list[Item]:
    """ScienceQA's problems with a picture, of the split `test`, by subject. `annotation_file`: the folder of both."""
    problems = read_problems(annotation_file, "test")
    asked = read_science(question_file, image_folder, single_pred_prompt=True)
    check_known(map(id_of, asked), problems, question_file, f"split test of {annotation_file}")
    items = []
    for question in asked:
        problem = problems[id_of(question)]
        if question.image is None:
            continue

        def judge(text: str, choices: int = problem.choices, answer: int = problem.answer) -> bool:
            return index_of(parse(text, LETTERS), choices, LETTERS) == answer

        items.append(single(question, picture_of(question), (*problem.groups, "all")[0], judge))
    return items


def mmbench(question_file: str, annotation_file: str, image_folder: str) -> list[Item]:
    """MMBench's table with answers, in English; right where every order of the options is answered rightly.

    Where the right answers are those of another table than the one that is asked, its rows and letters count, as with
    `eval_mmbench --as-server`.
    """
    return _mmbench(question_file, annotation_file, LETTER_PROMPT)


def mmbench_cn(question_file: str, annotation_file: str, image_folder: str) -> list[Item]:
    """The Chinese table."""
    return _mmbench(question_file, annotation_file, LETTER_PROMPTS["cn"])


def _mmbench(question_file: str, annotation_file: str, instruction: str) -> list[Item]:
    rows, kinds = read_rows(annotation_file)
    kind = next((name for name in reversed(KINDS) if name in kinds), None)
    groups: dict[int, list[tuple[Question, str]]] = {}
    pictures: dict[int, str] = {}
    asked = [(row, image) for row, image in read_asked(question_file) if row["index"] in rows]
    check_known(map(str, rows), {str(row["index"]) for row, _ in asked}, annotation_file, question_file)
    for row, image in asked:
        [question] = rounds_of(row, image, False, instruction)
        number = row["index"] % CIRCLE
        groups.setdefault(number, []).append((question, rows[row["index"]]["answer"]))
        pictures.setdefault(number, image.identity)
    items = []
    for number, members in groups.items():
        questions, answers = zip(*members)

        def judge(
            texts: Sequence[str], questions: tuple[Question, ...] = questions, answers: tuple[str, ...] = answers
        ) -> float:
            return float(all(map(eq, map(letter_of, texts, questions), answers)))

        row = rows.get(number) or rows[int(questions[0].head["question_id"])]
        items.append(Item(questions, pictures[number], str(row[kind]) if kind else "all", judge))
    return items


def letter_of(text: str, question: Question) -> str | None:
    """The table's letter that an answer to MMBench means."""
    record: dict[str, Any] = {"text": text} | question.tail
    return meant(record)


def seed(question_file: str, annotation_file: str, image_folder: str) -> list[Item]:
    """SEED-Bench: the right letter and nothing else, by type of question; frames of videos are pictures too.

    One id belongs to two questions: the first that is asked is the first that is annotated.
    """
    truth: dict[str, list[Annotated]] = {}
    for known in read_seed(annotation_file)[0]:
        truth.setdefault(known.question_id, []).append(known)
    questions = read_questions(question_file, image_folder)
    check_known(map(id_of, questions), truth, question_file, annotation_file)
    items = []
    for question in questions:
        several = truth[id_of(question)]
        right = several.pop(0) if len(several) > 1 else several[0]
        judge = partial(eq, right.answer)
        items.append(single(question, picture_of(question), right.kind, judge))
    return items
