"""Items with one right answer each: files in the shapes' form, and GQA."""

from collections.abc import Callable

from llava.eval.benchmarks.answers import check_known
from llava.eval.benchmarks.gqa import prediction_of
from llava.eval.benchmarks.gqa import read_questions as read_gqa
from llava.eval.benchmarks.shapes import read_truth
from llava.eval.eval_pope import says_yes
from llava.eval.eval_shapes import is_right
from llava.eval.judging.items import Item, single
from llava.eval.model_vqa_loader import read_questions
from llava.eval.runs.questions import Question

Rule = Callable[[str, str], bool]


def means_the_same(text: str, answer: str) -> bool:
    """Yes and no as POPE reads them."""
    return says_yes(text) == (answer.strip().lower() == "yes")


def exact(question_file: str, annotation_file: str, image_folder: str) -> list[Item]:
    """Right to the letter, without case and a full stop at the end."""
    return _with_truth(question_file, annotation_file, image_folder, is_right)


def yes_no(question_file: str, annotation_file: str, image_folder: str) -> list[Item]:
    """Yes or no, as POPE reads it."""
    return _with_truth(question_file, annotation_file, image_folder, means_the_same)


def _with_truth(question_file: str, annotation_file: str, image_folder: str, rule: Rule) -> list[Item]:
    questions, truth = read_questions(question_file, image_folder), read_truth(annotation_file)
    check_known(map(id_of, questions), truth, question_file, annotation_file)
    records = [truth[id_of(question)] for question in questions]
    return [
        single(question, record["image"], record["category"], lambda text, answer=record["answer"]: rule(text, answer))
        for question, record in zip(questions, records)
    ]


def gqa(question_file: str, annotation_file: str, image_folder: str) -> list[Item]:
    """GQA's balanced questions, exact match, by structural type."""
    questions, truth = read_questions(question_file, image_folder), read_gqa(annotation_file)
    check_known(map(id_of, questions), truth, question_file, annotation_file)
    known = [(question, truth[id_of(question)]) for question in questions]
    return [
        single(
            question,
            picture_of(question),
            right.structural,
            lambda text, answer=right.answer: prediction_of(text) == answer,
        )
        for question, right in known
        if right.balanced
    ]


def id_of(question: Question) -> str:
    """The question's id as text."""
    return str(question.head["question_id"])


def picture_of(question: Question) -> str:
    """What questions about one picture have in common."""
    return str(getattr(question.image, "identity", ""))
