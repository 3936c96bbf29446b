"""POPE's files: the labels of its three categories, LLaVA's question file, and answers put beside labels.

Labels lie in `coco_pope_CATEGORY.json`, a JSON object a line with image, text and label (yes or no).
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from llava.errors import InputError, shown
from llava.eval.benchmarks.answers import is_skipped, quoted
from llava.eval.files import read_jsonl
from llava.files.reading import files_in

PREFIX, SUFFIX = "coco_pope_", ".json"
CATEGORIES = ("adversarial", "popular", "random")
TEXTS = ("image", "text")
LABELS = ("yes", "no")
Records = list[dict[str, Any]]
COMMIT = "the three files of POPE's commit e3e39262"


def read_labels(folder: str) -> dict[str, Records]:
    """The labels of each category, by the names of the files; categories in alphabetical order.

    Raises:
        InputError: for other files in the folder (names that begin with a dot are passed over), a category of
            `CATEGORIES` without file, and what is no label.
    """
    files = files_in(folder)
    other = [file.name for file in files if not (file.name.startswith(PREFIX) and file.name.endswith(SUFFIX))]
    if other or not files:
        raise InputError(
            f"POPE's annotation folder holds {PREFIX}CATEGORY{SUFFIX} files only: '{folder}' has "
            f"{other[0] if other else 'no file'}; fetch {COMMIT}"
        )
    labels = {file.name[len(PREFIX) : -len(SUFFIX)]: read_category(str(file)) for file in files}
    missing = [category for category in CATEGORIES if category not in labels]
    if missing:
        raise InputError(
            f"POPE's score is the mean over {', '.join(CATEGORIES)}: '{folder}' has no labels of {', '.join(missing)}; "
            f"fetch {COMMIT}"
        )
    return labels


def read_category(path: str) -> Records:
    """The labels of one file in its order; InputError for a label other than yes and no."""
    lines = read_jsonl(path, (*TEXTS, "label"), "POPE's labels", TEXTS)
    for where, record in lines:
        if record["label"] not in LABELS:
            raise InputError(f"a label of POPE is yes or no: {where} has {shown(record['label'])}; fetch {COMMIT}")
    return [record for _, record in lines]


def read_asked(path: str) -> dict[str, dict[str, Any]]:
    """POPE's questions by id as text; InputError for an id that comes twice."""
    asked: dict[str, dict[str, Any]] = {}
    texts = (*TEXTS, "category")
    for where, line in read_jsonl(path, ("question_id", *texts), "a question file", texts):
        name = str(line["question_id"])
        if name in asked:
            raise InputError(f"a question_id of POPE comes once: {where} has {quoted(name)} again; remove it")
        asked[name] = line
    return asked


def check_categories(labels: dict[str, Any], asked: dict[str, dict[str, Any]], path: str) -> None:
    """Refuse questions that leave out a category of the labels, or have another one."""
    categories = {line["category"] for line in asked.values()}
    without = [category for category in labels if category not in categories]
    if without:
        raise InputError(
            f"POPE's questions must have every category that has labels: '{path}' has none of {', '.join(without)}; "
            f"give llava_pope_test.jsonl whole"
        )
    strange = sorted(categories - set(labels))
    if strange:
        raise InputError(
            f"every category of POPE's questions needs labels: '{path}' has {shown(strange[0])}, for which there is no "
            f"file; fetch {COMMIT}"
        )


def check_complete(asked: dict[str, dict[str, Any]], answered: dict[str, Any], path: str, by_position: bool) -> None:
    """Refuse answers that leave a whole category out, or, where they are paired by position, any question.

    Raises:
        InputError: says for each category how many of its questions have no answer, and the first of them.
    """
    total = Counter(line["category"] for line in asked.values())
    missing = {name: line["category"] for name, line in asked.items() if name not in answered}
    count = Counter(missing.values())
    gone = [category for category, number in count.items() if number == total[category]]
    if not gone and not (missing and by_position):
        return
    told = ", ".join(f"{category}: {count[category]} of {total[category]}" for category in sorted(count))
    remedy = "" if gone else " (or give --allow-missing)"
    raise InputError(
        f"every question of POPE needs an answer: '{path}' has none to {len(missing)} ({told}; first "
        f"{quoted(next(iter(missing)))}); run the benchmark again, it continues where it stopped{remedy}"
    )


def key_of(record: dict[str, Any]) -> tuple[str, str]:
    """What identifies a question across files: image and first line, a misspelling of the published file mended."""
    return record["image"], record["text"].split("\n")[0].replace("imange", "image")


def yes_or_no(
    asked: Records,
    answers: Records,
    labels: Records,
    rule: Callable[[str], bool],
) -> list[bool]:
    """What each answer says (True: yes). The rule takes silence for yes, so a question passed over is answered wrongly.

    Args:
        asked: the questions of the answers, in their order.
        rule: from an answer's text to what it says.
    """
    label_of = {key_of(record): record["label"] == "yes" for record in labels}
    return [
        not label_of.get(key_of(question), False) if is_skipped(answer) else rule(answer["text"])
        for question, answer in zip(asked, answers)
    ]


def strangers(labels: Records, asked: Records) -> int:
    """Of labels and questions paired by position, how many have no partner or another question as partner."""
    pairs = zip(labels, asked)
    return sum(key_of(label) != key_of(question) for label, question in pairs) + abs(len(labels) - len(asked))


def pair_by_text(labels: Records, asked: Records, said: list[bool]) -> tuple[list[bool], list[bool], int]:
    """Answers and labels (True: yes) of the questions that have both, in one order, and how many have no partner."""
    label_of = {key_of(record): record["label"] == "yes" for record in labels}
    known = [(answer, label_of[key]) for key, answer in zip(map(key_of, asked), said) if key in label_of]
    return [answer for answer, _ in known], [label for _, label in known], len(labels) + len(asked) - 2 * len(known)
