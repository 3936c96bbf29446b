"""MME's files: its questions with their answers, and the folder of text files that its calculation reads.

Answers are put into `CATEGORY.txt`, a line each: name of the question's file, question, right answer, the model's.
LLaVA's question file has another wording than MME's own, so the question is found again in MME's files.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava.errors import InputError, shown
from llava.eval.benchmarks.answers import answered_again, warn
from llava.files.reading import files_in, read_text

SUBTASKS = {
    "Perception": (
        *("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR"),
    ),
    "Cognition": ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning"),
}
INSTRUCTION = "Answer the question using a single word or phrase."
ASK = "Please answer yes or no."
NESTED = "questions_answers_YN"  # where the questions of five subtasks lie; the others' lie beside the pictures
Place = tuple[str, str]  # category and name of text file, which is that of a picture
Truth = dict[Place, list[tuple[str, str]]]  # [(question, Yes or No)] of each picture
Lines = list[tuple[str, dict[str, Any]]]  # of an answers file, with their places


@dataclass(frozen=True)
class Converted:
    """Answers as MME takes them.

    Attributes:
        texts: contents of `CATEGORY.txt` by category.
        mended: ids of answers that held a tab or a line break, which would end a field or a line.
        missing: questions without answer.
    """

    texts: dict[str, str]
    mended: list[str]
    missing: list[str]


def read_truth(folder: str) -> Truth:
    """MME's questions and answers, from `MME_Benchmark_release_version`.

    Raises:
        InputError: for a folder without them, and a line that is not a question, a tab, and Yes or No.
    """
    truth: Truth = {}
    for category in (name for names in SUBTASKS.values() for name in names):
        place = Path(folder) / category
        place = place / NESTED if (place / NESTED).is_dir() else place
        for path in files_in(place, "*.txt") if place.is_dir() else []:
            truth[category, path.name] = _read_questions(path)
    if not truth:
        raise InputError(
            f"MME's data has a folder of text files per subtask: '{folder}' has none; give the path of "
            f"MME_Benchmark_release_version"
        )
    return truth


def _read_questions(path: Path) -> list[tuple[str, str]]:
    questions = []
    for number, line in enumerate(read_text(str(path), "MME's questions").split("\n"), 1):
        fields = line.strip().split("\t")
        if fields == [""]:
            continue
        if len(fields) != 2 or fields[1].lower() not in ("yes", "no"):
            raise InputError(
                f"a line of MME's questions is a question, a tab, and Yes or No: {path} line {number} is "
                f"{shown(line.strip())}; fetch MME's data again"
            )
        questions.append((fields[0], fields[1]))
    return questions


def restore(prompt: str, questions: Collection[str]) -> str | None:
    """Which of MME's `questions` a saved prompt asks, and None for none of them.

    LLaVA's instruction is taken off and MME's put on, after one space or, as a few of MME's questions have it, two.
    """
    text = prompt.replace(INSTRUCTION, "").strip()
    if ASK not in text:
        text = f"{text} {ASK}"
    return next((form for form in (text, text.replace(f" {ASK}", f"  {ASK}")) if form in questions), None)


def place_of(question_id: str) -> Place:
    """Category and name of the text file that a question id, the path of a picture, belongs to."""
    return question_id.split("/")[0], question_id.split("/")[-1].split(".")[0] + ".txt"


def check_data(answers: Lines, truth: Truth, folder: str) -> None:
    """Refuse data without the questions about a picture that is asked about; copies of MME lack some.

    Raises:
        InputError: names the first file that is not there, and how many.
    """
    lacking: dict[Place, str] = {}
    for where, place in _asked_places(answers):
        if _is_lacking(place, truth):
            lacking.setdefault(place, where)
    if lacking:
        (category, file), where = next(iter(lacking.items()))
        raise InputError(
            f"MME's data must have a text file for every picture asked about: '{folder}' has no {file} of {category}, "
            f"which {where} asks about ({len(lacking)} such pictures); fetch MME's data again, or give --allow-missing "
            f"to leave them out of the score"
        )


def leave_out(answers: Lines, truth: Truth) -> tuple[Lines, Truth, list[str]]:
    """Answers and data without the pictures that either lacks, or of which not every question is answered once.

    Returns:
        answers, data, and the pictures left out as `CATEGORY/FILE.txt`.
    """
    places = [place for _, place in _asked_places(answers)]
    answered = Counter(places)
    whole = {place: questions for place, questions in truth.items() if answered[place] >= len(questions)}
    # What is neither in the data nor of its kind stays, and is refused later on.
    lacking = [place for place in places if _is_lacking(place, truth)]
    left = dict.fromkeys([*(place for place in truth if place not in whole), *lacking])
    kept = [answer for answer, place in zip(answers, places) if place not in left]
    names = ["/".join(place) for place in left]
    warn("pictures have no two questions with answers and are left out", names)
    return kept, whole, names


def _asked_places(answers: Lines) -> list[tuple[str, Place]]:
    return [(where, place_of(str(record["question_id"]))) for where, record in answers]


def _is_lacking(place: Place, truth: Truth) -> bool:
    """Whether a picture of a subtask is not in the data."""
    return place not in truth and any(place[0] in names for names in SUBTASKS.values())


def convert(answers: Lines, truth: Truth) -> Converted:
    """MME's text files from the lines of an answers file with their places; the order of answers is kept.

    Raises:
        InputError: for an answer to what MME does not ask, and a question answered more often than it is asked.
    """
    lines: dict[str, list[str]] = defaultdict(list)
    asked = Counter(_name(place, question) for place, questions in truth.items() for question, _ in questions)
    answered: Counter[str] = Counter()
    mended = []
    for where, record in answers:
        category, file = place = place_of(str(record["question_id"]))
        questions = dict(truth.get(place, []))
        question = restore(record["prompt"], questions)
        if question is None:
            raise InputError(
                f"answers must be those to MME's questions: {where} asks {shown(record['prompt'], 200)} about "
                f"{shown(record['question_id'])}, which MME does not; give answers to llava_mme.jsonl"
            )
        answered[_name(place, question)] += 1
        if answered[_name(place, question)] > asked[_name(place, question)]:
            raise answered_again(where, f"{question} ({shown(record['question_id'])})")
        text = re.sub(r"[\t\n\r]", " ", record["text"])
        if text != record["text"]:
            mended.append(str(record["question_id"]))
        lines[category].append(f"{file}\t{question}\t{questions[question]}\t{text}\n")
    texts = {category: "".join(rows) for category, rows in lines.items()}
    return Converted(texts, mended, missing=list((asked - answered).elements()))


def _name(place: Place, question: str) -> str:
    return f"{'/'.join(place)}: {question}"
