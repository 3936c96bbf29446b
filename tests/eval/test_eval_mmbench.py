"""MMBench's scores, letters read from answers, and the upload file."""

import json
import sys
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


def score(folder: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    """The scorer on answers/run.jsonl."""
    flags = ["--annotation-file", folder / "mmbench_dev_20230712.tsv", "--result-file", folder / "answers/run.jsonl"]
    return call("eval_mmbench", capsys, *flags, *more)


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
        "right": 1,
        **{"not_turned": 0, "missing": 0, "undecided": 1},
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


def test_a_table_without_answers_is_not_scored(folder: Path, capsys: pytest.CaptureFixture) -> None:
    answer(folder, {})
    published_mmbench.write_table(
        folder / "mmbench_dev_20230712.tsv", "Which is heavier?", "Look at it.", False, "test"
    )
    for flags in ((), ("--check",)):
        done = score(folder, capsys, *flags)
        assert done.code == 2 and "has none for 7 of 7 rows, first index 241; the test tables that" in done.err
    table = folder / "mmbench_dev_20230712.tsv"
    published_mmbench.write_table(table, "Which is heavier?", "Look at it.", True, "test")
    assert score(folder, capsys, "--check") == (0, "", "")
    table.write_text(table.read_text().replace("\tB\tphysical", "\tE\tphysical", 1))
    assert "an answer is one of A, B, C, D: " in score(folder, capsys).err


def test_a_test_table_with_answers_is_scored(folder: Path, capsys: pytest.CaptureFixture) -> None:
    published_mmbench.write_table(folder / "mmbench_dev_20230712.tsv", "Which is heavier?", "Look at it.", True, "test")
    answer(folder, {})
    done = score(folder, capsys)
    assert done.code == 0 and json.loads(done.out.splitlines()[-1])["split"] == {"test": 100.0}


def convert(folder: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    """The converter on answers/run.jsonl."""
    flags = ["--annotation-file", folder / "mmbench_dev_20230712.tsv", "--result-dir", folder / "answers"]
    flags += ["--upload-dir", folder / "upload/new", "--experiment", "run"]
    return call_script("convert_mmbench_for_submission", capsys, *flags, *more)


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
    refused = convert(folder, capsys)
    assert refused.code == 2 and "has none to 1 (2000252); run the benchmark again" in refused.err
    assert not (folder / "upload").exists()
    assert convert(folder, capsys, "--allow-missing") == (
        0,
        "total results: 6, total split: 7, error_line: 1\n",
        "WARNING: 1 questions have several answers, the last one counts: 252\n"
        "WARNING: 1 questions have no answer and get an empty one: 2000252",
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
    answer(folder, {252: "\x0e B\x00\tor\r\nC\uffff", 241: "A", 1000252: "x" * 40_000})
    table = folder / "mmbench_dev_20230712.tsv"
    table.write_text(table.read_text().replace("Which is heavier?", "Which is \x07heavier?", 1))
    done = convert(folder, capsys)
    assert done.code == 0 and "WARNING: 3 cells hold control characters or more than a workbook can" in done.err
    cells = cells_of(folder)
    assert cells[1][1] == "Which is heavier?" and cells[5][6] == " B\tor\nC" and cells[6][6] == "x" * 32_767


def test_no_text_is_a_formula(folder: Path, capsys: pytest.CaptureFixture) -> None:
    said = {241: "=A", 1000241: "=1+1", 2000241: "+B", 3000241: "-C", 252: "@D", 1000252: "#N/A", 2000252: "=cmd|x!A"}
    answer(folder, said)
    table = folder / "mmbench_dev_20230712.tsv"
    table.write_text(table.read_text().replace("Which is heavier?", "=2+2"))
    assert convert(folder, capsys).code == 0
    book = openpyxl.load_workbook(folder / "upload/new/run.xlsx")["Sheet1"]
    kinds = {cell.data_type for row in book.iter_rows(min_row=2, min_col=2) for cell in row if cell.value is not None}
    assert kinds == {"s"} and [row[1] for row in cells_of(folder)[1:]] == ["=2+2"] * 7
    assert [row[6] for row in cells_of(folder)[1:]] == list(said.values())


def test_names_do_not_lead_out_of_the_folder(folder: Path, capsys: pytest.CaptureFixture) -> None:
    flags = ["--annotation-file", folder / "mmbench_dev_20230712.tsv", "--result-dir", folder / "answers"]
    for name in ("../run", "/run", "", "a/../../b", "a\nb"):
        where = ("--upload-dir", folder / "upload", "--experiment", name)
        done = call_script("convert_mmbench_for_submission", capsys, *flags, *where)
        assert done.code == 2 and "--experiment must name something in the benchmark's folder" in done.err


def test_openpyxl_is_missed_before_anything_else_and_not_by_the_score(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(folder, {})
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    for flags in ((), ("--check",)):
        done = convert(folder, capsys, *flags)
        assert done == (
            2,
            "",
            "error: a workbook needs openpyxl, which is not installed; pip install 'visiondrop[eval]'",
        )
    assert score(folder, capsys).code == 0


def test_a_workbook_is_called_by_its_name(folder: Path, capsys: pytest.CaptureFixture) -> None:
    answer(folder, {})
    convert(folder, capsys)
    book = folder / "upload/new/run.xlsx"
    table = ("--annotation-file", folder / "mmbench_dev_20230712.tsv")
    for flags in ((*table, "--result-file", book), ("--annotation-file", book, "--result-file", "x")):
        done = call("eval_mmbench", capsys, *flags)
        assert done.code == 2 and f"'{book}' is a zip file, as Excel's .xlsx and .docx are; give the text" in done.err


def test_other_capitals_of_columns_are_the_same_columns(folder: Path, capsys: pytest.CaptureFixture) -> None:
    """As lmms-lab's copy of the table writes them."""
    answer(folder, {})
    table = folder / "mmbench_dev_20230712.tsv"
    head, rest = table.read_text().split("\n", 1)
    table.write_text(head.replace("l2-category", "L2-category").replace("hint", "Hint") + "\n" + rest)
    assert json.loads(score(folder, capsys).out.splitlines()[-1])["l2-category"] == {"relation_reasoning": 100.0}
    assert convert(folder, capsys).code == 0 and len(cells_of(folder)[0]) == 9


def test_a_table_without_turned_copies_is_not_circular(folder: Path, capsys: pytest.CaptureFixture) -> None:
    table = folder / "mmbench_dev_20230712.tsv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join([lines[0], lines[1], lines[5]]))
    answer(folder, {252: "C"})
    done = score(folder, capsys)
    last = json.loads(done.out.splitlines()[-1])
    assert "ircular" not in done.out and done.out.startswith("Vanilla accuracy: 50.00%\n\nVanilla accuracy by split:")
    assert done.err == "WARNING: no question is asked in another order: this is no circular accuracy"
    assert (last["benchmark"], last["metric"], last["score"]) == ("mmbench_vanilla", "vanilla accuracy", 50.0)
    table.write_text("".join([*lines[:5], lines[5]]))
    answer(folder, {})
    done = score(folder, capsys)
    assert "WARNING: 1 questions are not asked in every order of their options: 252" in done.err
    assert json.loads(done.out.splitlines()[-1])["not_turned"] == 1 and done.out.startswith("Circular")


def test_rows_without_answer_leave_their_question_out_where_that_is_allowed(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    path = answer(folder, {})
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    done = score(folder, capsys, "--allow-missing")
    last = json.loads(done.out.splitlines()[-1])
    assert (last["questions"], last["missing"], last["score"]) == (1, 1, 100.0)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:-1]))
    refused = score(folder, capsys, "--allow-missing")
    assert refused.code == 2 and "has none that is whole" in refused.err


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of a table of MMBench's dev sizes, and right answers to 748 questions of the later one.

    20230712: 1176 questions in 4377 rows. 20231003: 12 questions less and 40 with other letters, 4329 rows.
    """
    folder = tmp_path_factory.mktemp("versions")
    head = "\t".join(published_mmbench.COLUMNS)
    tables: dict[str, list[str]] = {"mmbench_dev_20230712": [head], "mmbench_dev_en_20231003": [head]}
    records = []
    for at, size in enumerate([4] * 938 + [3] * 149 + [2] * 89):
        options = ["one", "two", "three", "four"][:size]
        for turn in range(size):
            shown = options[size - turn :] + options[: size - turn]
            for version, rows in tables.items():
                later = version.endswith("20231003")
                truth = "ABCD"[(turn + (later and at % 29 == 0)) % size]
                cells = dict.fromkeys(published_mmbench.COLUMNS, "") | dict(zip("ABCD", shown))
                cells |= {"index": at + CIRCLE * turn, "question": "Which?", "answer": truth, "split": "dev"}
                if not (later and at < 12):
                    rows.append("\t".join(str(cells[name]) for name in published_mmbench.COLUMNS))
            record = {"question_id": at + CIRCLE * turn, "round_id": 0}
            wrong = at >= 12 + 748 and turn == 0
            record["text"] = "ABCD"[("ABCD".index(truth) + 1) % size] if wrong else truth
            records.append(record | {"options": shown, "option_char": list("ABCD")[:size]})
    for version, rows in tables.items():
        (folder / f"{version}.tsv").write_text("\n".join(rows) + "\n")
    published.lines(folder / "answers.jsonl", records)
    return folder


def test_dev_is_scored_as_the_server_did(versions: Path, capsys: pytest.CaptureFixture) -> None:
    """A published 7B run: asked on 20230712, scored by the questions and letters of 20231003, 748 of 1164."""
    files = ("--annotation-file", versions / "mmbench_dev_en_20231003.tsv", "--result-file", versions / "answers.jsonl")
    refused = call("eval_mmbench", capsys, *files)
    assert refused.code == 2 and "is about 0, which is not in" in refused.err and "--as-server" in refused.err
    done = call("eval_mmbench", capsys, *files, "--as-server")
    last = json.loads(done.out.splitlines()[-1])
    assert (last["right"], last["questions"]) == (748, 1164)
    assert last["right"] / last["questions"] == 0.6426116838487973 and last["score"] == 100 * 0.6426116838487973
    assert (
        done.err == "WARNING: 48 answers are to rows that the table has not, and are left out: 0, 1000000, 2000000, ..."
    )
    own = ("--annotation-file", versions / "mmbench_dev_20230712.tsv", "--result-file", versions / "answers.jsonl")
    before = json.loads(call("eval_mmbench", capsys, *own).out.splitlines()[-1])
    assert before["questions"] == 1176 and before["score"] != last["score"]


@pytest.mark.parametrize(("column", "code"), [("source", 0), ("D", 2), ("answer", 0), ("split", 0)])
def test_columns_that_the_workbook_needs(folder: Path, capsys: pytest.CaptureFixture, column: str, code: int) -> None:
    answer(folder, {})
    table = folder / "mmbench_dev_20230712.tsv"
    table.write_text(table.read_text().replace(f"\t{column}\t", "\tother\t", 1).replace("\tsplit\n", "\tother\n", 1))
    done = convert(folder, capsys)
    assert done.code == code
    assert (f"'{table}' lacks {column}; take the" in done.err) == (code == 2)
    assert ("has no column answer; the server wanted one" in done.err) == (column == "answer")
