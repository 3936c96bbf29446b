"""MMBench's upload file: a workbook of answers."""

import json
import sys
from pathlib import Path

import openpyxl
import published
import pytest
from commands import Outcome, call, call_script
from mmbench_answers import answer, score


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    published.mmbench(tmp_path)
    return tmp_path / "mmbench"


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


@pytest.mark.parametrize(("column", "code"), [("source", 0), ("D", 2), ("answer", 0), ("split", 0)])
def test_columns_that_the_workbook_needs(folder: Path, capsys: pytest.CaptureFixture, column: str, code: int) -> None:
    answer(folder, {})
    table = folder / "mmbench_dev_20230712.tsv"
    table.write_text(table.read_text().replace(f"\t{column}\t", "\tother\t", 1).replace("\tsplit\n", "\tother\n", 1))
    done = convert(folder, capsys)
    assert done.code == code
    assert (f"'{table}' lacks {column}; take the" in done.err) == (code == 2)
    assert ("has no column answer; the server wanted one" in done.err) == (column == "answer")
