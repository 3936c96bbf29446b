"""MMBench's scores, letters read from answers, and the upload file."""

import json
from pathlib import Path

import openpyxl
import published
import published_mmbench
import pytest
from commands import Outcome, call, call_script

from llava.eval.benchmarks.mmbench import CIRCLE, options_of, read_table
from llava.eval.benchmarks.mmbench_letters import letter_of
from llava.eval.eval_mmbench import accuracies, circular

OPTIONS = {"A": "Red", "B": "Dark blue", "C": "Blue", "D": "None of them"}


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("B.", "B"),
        (" (C) ", "C"),
        ("b", None),
        ("The option is D", "D"),
        ("B is what I would choose here", None),  # the letter is not among the last four words
        ("B is what I choose", None),
        ("B is my choice", "B"),
        ("A cat sits here", "A"),  # the article, in an answer of four words
        ("A cat sits right here", None),
        ("A or B", None),
        ("Z", "Z"),
        ("E", None),
        ("I'm sorry, but without the image provided I would say B", "Z"),
        ("Failed to obtain answer via API: B", None),
        ("Failed to obtain answer via API: red", "A"),
        ("The answer is B because it is so and nothing else", "B"),
        ("A thing: the correct ANSWER IS **c** as we all can see here", "C"),
        ("The answer is dark and nothing else would do here", "D"),  # no word boundary behind the letter
        ("red", "A"),
        ("It is DARK BLUE.", None),  # holds Blue too
        ("It is bluish", None),
        ("It is blue.", "C"),
        ("red, " + "and so on " * 6, None),  # more than twice as long as all options
        ("", None),
    ],
)
def test_letters(answer: str, letter: str | None) -> None:
    assert letter_of(answer, OPTIONS) == letter


def test_letters_are_those_of_the_options() -> None:
    two = {"A": "yes", "B": "no"}
    assert [letter_of(text, two) for text in ("C", "the answer is D", "Yes")] == [None, None, "A"]


def test_published_accuracies_follow_from_their_counts() -> None:
    """LLaVA-1.5-13B on dev 20230712: of 1176 questions 796 right in every order, 887 unturned; 3346 of 4377 rows."""
    sizes, verdicts = [4] * 938 + [3] * 149 + [2] * 89, {}
    to_spoil, spoilt_first = 4377 - 3346, 1176 - 887
    wrong = sizes[: 1176 - 796]
    spoils = [1] * len(wrong)
    for at in range(len(wrong)):
        more = min(wrong[at] - 2, to_spoil - sum(spoils))  # one stays right, whichever place that is
        spoils[at] += max(0, more)
    for at, size in enumerate(sizes):
        wrongs = spoils[at] if at < len(wrong) else 0
        order = range(size) if at < spoilt_first else range(size - 1, -1, -1)
        falses = set(list(order)[:wrongs])
        verdicts |= {at + CIRCLE * turn: [turn not in falses] for turn in range(size)}
    assert len(verdicts) == 4377 and sum(spoils) == to_spoil
    assert sum(circular(verdicts).values()) == 796
    found = {name: round(value, 3) for name, value in accuracies(verdicts).items()}
    assert found == {"circular": 67.687, "vanilla": 75.425, "rows": 76.445}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    published.mmbench(tmp_path)
    return tmp_path / "mmbench"


def answer(folder: Path, changes: dict[int, str], **extra: object) -> Path:
    """Right answers to the published table, but for `changes` by index."""
    records = []
    for row in read_table(str(folder / "mmbench_dev_20230712.tsv")).to_dict("records"):
        options = options_of(row)
        record = {"question_id": row["index"], "round_id": 0, "text": changes.get(row["index"], row["answer"])}
        records.append(record | {"options": options, "option_char": list("ABCD")[: len(options)]} | extra)
    published.lines(folder / "answers/run.jsonl", records)
    return folder / "answers/run.jsonl"


def score(folder: Path, capsys: pytest.CaptureFixture) -> Outcome:
    """The scorer on answers/run.jsonl."""
    flags = ["--annotation-file", folder / "mmbench_dev_20230712.tsv", "--result-file", folder / "answers/run.jsonl"]
    return call("eval_mmbench", capsys, *flags)


def test_a_question_counts_when_every_turned_copy_is_right(folder: Path, capsys: pytest.CaptureFixture) -> None:
    answer(folder, {1000241: "D", 3000241: "I do not know", 252: "(B) Blue"})
    done = score(folder, capsys)
    assert done.code == 0 and done.out.startswith(
        "Circular accuracy: 50.00%\nVanilla accuracy: 100.00%\nRows accuracy: 71.43%\n\n"
        "Circular accuracy by split:\ndev: 50.00%\n\n"
        "Circular accuracy by l2-category:\nrelation_reasoning (RR): 50.00%\n\n"
        "Circular accuracy by category:\nphysical_relation: 50.00%\n\n"
    )
    last = json.loads(done.out.splitlines()[-1])
    assert last | {"accuracies": None} == {
        "benchmark": "mmbench",
        "metric": "circular accuracy",
        "score": 50.0,
        "questions": 2,
        "accuracies": None,
        "split": {"dev": 50.0},
        "l2-category": {"relation_reasoning": 50.0},
        "category": {"physical_relation": 50.0},
    }


def test_rounds_count_as_turned_copies(folder: Path, capsys: pytest.CaptureFixture) -> None:
    """In round 1 of a question the right option stands one place further left."""
    path = answer(folder, {})
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for turned in (0, 1):
        more = records[4] | {"round_id": 1, "options": ["Blue", "Green", "Red"], "option_char": ["B", "C", "A"]}
        published.lines(path, [*records, more | {"text": "AB"[turned]}])
        assert score(folder, capsys).out.startswith(f"Circular accuracy: {100 - 50 * turned:.2f}%\n")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda lines: lines[:-1], "has none to 1 (2000252); run the benchmark again"),
        (lambda lines: [*lines, lines[0]], "line 8 answers 241 again; remove it"),
        (lambda lines: [lines[0].replace("241", "242"), *lines[1:]], "is about 242, which is not in"),
        (lambda lines: [lines[0].replace("The box", "A box"), *lines[1:]], "answers must be those to the table: "),
        (lambda lines: [lines[0].replace("round_id", "round"), *lines[1:]], "line 1 lacks round_id; add it"),
        (lambda lines: [lines[0].replace('["A", "B", "C", "D"]', '["A"]'), *lines[1:]], "line 1 has option_char ['A']"),
        (lambda lines: [lines[0], lines[1][:20], *lines[2:]], "line 2 is none"),
        (lambda lines: [], "must hold lines: "),
    ],
)
def test_bad_answers_are_refused(folder: Path, capsys: pytest.CaptureFixture, spoil: object, complaint: str) -> None:
    path = answer(folder, {})
    path.write_text("".join(line + "\n" for line in spoil(path.read_text().splitlines())))
    done = score(folder, capsys)
    assert done.code == 2 and complaint in done.err and str(path) in done.err and done.err.count("\n") == 0


def test_a_test_table_is_for_the_server(folder: Path, capsys: pytest.CaptureFixture) -> None:
    answer(folder, {})
    published_mmbench.write_table(
        folder / "mmbench_dev_20230712.tsv", "Which is heavier?", "Look at it.", False, "test"
    )
    done = score(folder, capsys)
    assert done.code == 2 and "has none for 7 rows, first index 241; a test table is scored by MMBench's" in done.err


def convert(folder: Path, capsys: pytest.CaptureFixture) -> Outcome:
    """The converter on answers/run.jsonl."""
    flags = ["--annotation-file", folder / "mmbench_dev_20230712.tsv", "--result-dir", folder / "answers"]
    flags += ["--upload-dir", folder / "upload/new", "--experiment", "run"]
    return call_script("convert_mmbench_for_submission", capsys, *flags)


def cells_of(folder: Path) -> list[list]:
    """The workbook's cells by row."""
    book = openpyxl.load_workbook(folder / "upload/new/run.xlsx")
    assert book.sheetnames == ["Sheet1"]
    return [[cell.value for cell in cells] for cells in book["Sheet1"].iter_rows()]


def test_workbook(folder: Path, capsys: pytest.CaptureFixture) -> None:
    answer(folder, {252: "Blau", 1000241: "C. The ball"})
    assert convert(folder, capsys) == (0, "total results: 7, total split: 7, error_line: 0\n", "")
    cells = cells_of(folder)
    assert cells[0] == ["index", "question", "A", "B", "C", "D", "prediction", "answer", "split"]
    assert len(cells) == 8
    shown = ["None of them", "The ball", "The box", "Both"]
    assert cells[2] == [1000241, "Which is heavier?", *shown, "C. The ball", "C", "dev"]
    assert cells[5] == [252, "Which is heavier?", "Red", "Blue", "Green", None, "Blau", "B", "dev"]


def test_what_is_odd_about_answers_is_said(folder: Path, capsys: pytest.CaptureFixture) -> None:
    path = answer(folder, {})
    lines = path.read_text().splitlines()
    again = lines[4].replace('"text": "B"', '"text": "C"')
    path.write_text("\n".join([*lines[:-1], again, lines[-1][:30]]) + "\n")
    assert convert(folder, capsys) == (
        0,
        "total results: 6, total split: 7, error_line: 1\n",
        "WARNING: 1 questions have several answers, the last one counts: 252\n"
        "WARNING: 1 rows have no answer and get none: 2000252",
    )
    cells = cells_of(folder)
    assert cells[5][6] == "C" and cells[7][6] is None


def test_answers_of_another_table_are_not_uploaded(folder: Path, capsys: pytest.CaptureFixture) -> None:
    path = answer(folder, {})
    path.write_text(path.read_text().replace('"question_id": 252', '"question_id": 253'))
    done = convert(folder, capsys)
    assert done.code == 2 and "is about 253, which is not in" in done.err and done.err.count("\n") == 0
    assert not (folder / "upload/new/run.xlsx").exists()


def test_control_characters_are_left_out(folder: Path, capsys: pytest.CaptureFixture) -> None:
    answer(folder, {252: "\x0e B\x00\tor\nC", 241: "A"})
    done = convert(folder, capsys)
    assert done.code == 0 and "WARNING: 1 answers hold control characters, which a workbook" in done.err
    assert cells_of(folder)[5][6] == " B\tor\nC"


@pytest.mark.parametrize(("column", "code"), [("source", 2), ("D", 2), ("answer", 0), ("split", 0)])
def test_columns_that_the_workbook_needs(folder: Path, capsys: pytest.CaptureFixture, column: str, code: int) -> None:
    answer(folder, {})
    table = folder / "mmbench_dev_20230712.tsv"
    table.write_text(table.read_text().replace(f"\t{column}\t", "\tother\t", 1).replace("\tsplit\n", "\tother\n", 1))
    done = convert(folder, capsys)
    assert done.code == code
    assert (f"'{table}' lacks {column}; take the" in done.err) == (code == 2)
    assert ("has no column answer; the server may want one" in done.err) == (column == "answer")
