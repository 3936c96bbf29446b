"""POPE and MME: yes or no, whose own scores are no means of what is right."""

from collections.abc import Sequence

from llava.errors import InputError, shown
from llava.eval.benchmarks.mme import SUBTASKS, place_of, restore
from llava.eval.benchmarks.mme import read_truth as read_mme
from llava.eval.benchmarks.pope import check_categories, key_of, read_asked, read_labels
from llava.eval.eval_mme import meaning
from llava.eval.eval_pope import Counts, says_yes
from llava.eval.judging.items import Item, single
from llava.eval.judging.words import id_of, picture_of
from llava.eval.model_vqa_loader import read_questions
from llava.eval.results.scores import ratio

YES = "yes"


def pope(question_file: str, annotation_file: str, image_folder: str) -> list[Item]:
    """POPE's three categories. `annotation_file`: the folder of labels, which are found by picture and text."""
    labels = read_labels(annotation_file)
    asked = read_asked(question_file)
    check_categories(labels, asked, question_file)
    known = {name: {key_of(record): record["label"] for record in records} for name, records in labels.items()}
    items = []
    for question in read_questions(question_file, image_folder):
        record = asked[id_of(question)]
        label = known[record["category"]].get(key_of(record))
        if label is None:
            raise InputError(
                f"a question of POPE needs a label: {question.where} asks {shown(record['text'], 200)} about "
                f"{shown(record['image'])}, which '{annotation_file}' has not; fetch the files of the same split"
            )
        items.append(
            single(
                question,
                picture_of(question),
                record["category"],
                lambda text, label=label: says_yes(text) == (label == YES),
                label,
            )
        )
    return items


def mean_f1(items: Sequence[Item], scores: Sequence[float]) -> float:
    """POPE's score, per cent: the mean over categories of F1, positive being yes."""
    found = []
    for category in dict.fromkeys(item.category for item in items):
        sorts = [(item.label == YES, score > 0) for item, score in zip(items, scores) if item.category == category]
        hit, missed, wrong = (sorts.count(sort) for sort in ((True, True), (True, False), (False, False)))
        found.append(Counts(tp=hit, fp=wrong, tn=len(sorts) - hit - missed - wrong, fn=missed).f1)
    return 100 * ratio(sum(found), len(found))


def mme(question_file: str, annotation_file: str, image_folder: str) -> list[Item]:
    """MME's 14 subtasks. `annotation_file`: MME_Benchmark_release_version."""
    truth, items = read_mme(annotation_file), []
    for question in read_questions(question_file, image_folder):
        category, file = place = place_of(id_of(question))
        questions = dict(truth.get(place, []))
        text = restore(question.message, questions)
        if text is None:
            raise InputError(
                f"questions must be MME's: {question.where} asks {shown(question.message, 200)} about "
                f"{shown(id_of(question))}, which '{annotation_file}' does not; fetch MME's data again"
            )
        answer = questions[text].lower()
        items.append(
            single(question, f"{category}/{file}", category, lambda text, answer=answer: meaning(text) == answer)
        )
    return items


def perception_and_cognition(items: Sequence[Item], scores: Sequence[float]) -> float:
    """MME's score, of 2800: for every subtask per cent of questions right, and of pictures with all right."""
    total = 0.0
    for category in (name for names in SUBTASKS.values() for name in names):
        pictures: dict[str, list[bool]] = {}
        for item, score in zip(items, scores):
            if item.category == category:
                pictures.setdefault(item.image, []).append(score > 0)
        right = [hit for hits in pictures.values() for hit in hits]
        total += 100 * ratio(sum(right), len(right)) + 100 * ratio(sum(map(all, pictures.values())), len(pictures))
    return total
