"""Items that annotators answered, scored softly: TextVQA, and VQAv2 and VizWiz where the answers are public."""

from llava.errors import InputError, shown
from llava.eval.benchmarks.answers import check_known
from llava.eval.benchmarks.textvqa import question_of
from llava.eval.benchmarks.textvqa import read_truth as read_textvqa
from llava.eval.benchmarks.vizwiz import read_images
from llava.eval.benchmarks.vizwiz import read_truth as read_vizwiz
from llava.eval.benchmarks.vqa import answers_of
from llava.eval.benchmarks.vqa_text import normalise_m4c, soft_accuracy
from llava.eval.benchmarks.vqav2 import read_truth as read_vqav2
from llava.eval.eval_vizwiz import accuracy as vizwiz_accuracy
from llava.eval.eval_vqav2 import accuracy as vqav2_accuracy
from llava.eval.judging.items import Item, single
from llava.eval.judging.words import id_of, picture_of
from llava.eval.model_vqa_loader import read_questions


def textvqa(question_file: str, annotation_file: str, image_folder: str) -> list[Item]:
    """TextVQA's soft accuracy; a question is found by its picture and its text."""
    truth, items = read_textvqa(annotation_file).answers, []
    for question in read_questions(question_file, image_folder):
        text = question_of(question.message)
        answers = truth.get((id_of(question), text)) if text is not None else None
        if answers is None:
            raise InputError(
                f"TextVQA's questions must be annotated: {question.where} asks {shown(question.message, 200)}, which "
                f"'{annotation_file}' has not; give the files of the same split"
            )
        plain = [normalise_m4c(answer) for answer in answers]
        items.append(
            single(
                question,
                picture_of(question),
                "all",
                lambda text, answers=plain: soft_accuracy(normalise_m4c(text), answers),
            )
        )
    return items


def vqav2(question_file: str, annotation_file: str, image_folder: str) -> list[Item]:
    """VQAv2's soft accuracy by answer type; answers are normalised as in an upload file first."""
    questions, truth = read_questions(question_file, image_folder), read_vqav2(annotation_file)
    check_known(map(id_of, questions), truth, question_file, annotation_file)
    items = []
    for question in questions:
        record = truth[id_of(question)]
        answers = answers_of(record, annotation_file)
        items.append(
            single(
                question,
                picture_of(question),
                str(record["answer_type"]),
                lambda text, answers=answers: vqav2_accuracy(normalise_m4c(text), answers),
            )
        )
    return items


def vizwiz(question_file: str, annotation_file: str, image_folder: str) -> list[Item]:
    """VizWiz's soft accuracy by answer type; a question is found by its picture's name."""
    images, truth = read_images(question_file), read_vizwiz(annotation_file)
    check_known(list(images.values()), truth, question_file, annotation_file)
    items = []
    for question in read_questions(question_file, image_folder):
        image = images[id_of(question)]
        answers = answers_of(truth[image], annotation_file)
        items.append(
            single(
                question,
                image,
                str(truth[image]["answer_type"]),
                lambda text, answers=answers: vizwiz_accuracy(normalise_m4c(text), answers),
            )
        )
    return items
