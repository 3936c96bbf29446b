"""MMBench's tables and the runner that asks them."""

import base64
import gzip
import io
import json
from pathlib import Path

import published
import published_mmbench
import pytest
from commands import TINY, Outcome, call, records
from PIL import Image

from llava.errors import InputError
from llava.eval import model_vqa_mmbench
from llava.eval.benchmarks.mmbench import options_of, read_table
from llava.eval.benchmarks.mmbench_images import TableImage, images_of
from llava.eval.model_vqa_mmbench import read_rows, rounds_of
from llava.eval.runs import llava_run

LETTER = "Answer with the option's letter from the given choices directly."


def png(mode: str = "RGB") -> str:
    """A picture as a table holds it."""
    data = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 30, 60)).convert(mode).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


def row(index: object = 7, **cells: object) -> dict[str, object]:
    """Cells of a row: two options and a picture, unless told otherwise."""
    whole = dict.fromkeys(published_mmbench.COLUMNS, "")
    return whole | {"index": index, "question": "Which?", "A": "this", "B": "that", "image": png()} | cells


def table(folder: Path, *rows: dict[str, object], columns: list[str] = published_mmbench.COLUMNS) -> Path:
    """A table file."""
    path = folder / "t.tsv"
    lines = ["\t".join(columns), *("\t".join(str(cells[name]) for name in columns) for cells in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def ask(capsys: pytest.CaptureFixture, path: Path, *more: object) -> Outcome:
    """The runner on a table, greedy, two tokens; answers in a.jsonl beside it."""
    flags = ["--model-path", TINY, "--question-file", path, "--answers-file", path.parent / "a.jsonl"]
    flags += ["--conv-mode", "vicuna_v1", "--temperature", 0, "--max_new_tokens", 2]
    return call("model_vqa_mmbench", capsys, *flags, *more)


@pytest.mark.parametrize("word", ["", "NA", "None", "null", "nan", "N/A", "<NA>", "NONE", "NoNe", "NAN"])
def test_options_end_at_the_first_missing_cell(tmp_path: Path, word: str) -> None:
    path = table(tmp_path, row(C=word, D="behind it", hint=word), row(8, A="None of them", B="1.50"))
    (first, image), (second, _) = read_rows(str(path))
    assert options_of(first) == ["this", "that"] and options_of(second) == ["None of them", "1.50"]
    question = rounds_of(first, image, False, LETTER)[0]
    assert question.head == {"question_id": 7, "round_id": 0, "prompt": "Which?\nA. this\nB. that"}


def test_all_rounds_turn_options_and_letters_left() -> None:
    cells = {"index": 3, "question": "Q?", "hint": "H."} | dict(zip("ABCD", "wxyz"))
    rounds = rounds_of(cells, TableImage("", "here"), True, LETTER)
    assert [question.head["round_id"] for question in rounds] == [0, 1, 2, 3]
    assert rounds[1].head["prompt"] == "H.\nQ?\nA. x\nB. y\nC. z\nD. w"
    assert rounds[1].tail == {"options": ["x", "y", "z", "w"], "option_char": ["B", "C", "D", "A"]}
    assert rounds[3].tail == {"options": ["z", "w", "x", "y"], "option_char": ["D", "A", "B", "C"]}


@pytest.mark.parametrize(
    ("flags", "ending"),
    [
        ([], ""),
        (["--single-pred-prompt"], "\n" + LETTER),
        (["--single-pred-prompt", "--lang", "cn"], "\n请直接回答选项字母。"),
        (["--single-pred-prompt", "--lang", "fr"], "\n" + LETTER),
        (["--lang", "cn"], ""),
    ],
)
def test_the_instruction_is_asked_but_not_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, flags: list, ending: str
) -> None:
    asked = []
    monkeypatch.setattr(model_vqa_mmbench, "run_questions", lambda _, questions, *__, **___: asked.extend(questions))
    ask(capsys, table(tmp_path, row()), *flags)
    assert [question.message for question in asked] == ["Which?\nA. this\nB. that" + ending]
    assert asked[0].head["prompt"] == "Which?\nA. this\nB. that"


def test_answers_have_llavas_nine_keys(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    published.mmbench_cn(tmp_path)
    path = tmp_path / "mmbench_cn/mmbench_dev_cn_20231003.tsv"
    assert ask(capsys, path, "--single-pred-prompt", "--lang", "cn", "--retain", 32).code == 0
    lines = (path.parent / "a.jsonl").read_text().splitlines()
    assert len(lines) == 7
    answer = json.loads(lines[0])
    assert lines[0] == (
        '{"question_id": 241, "round_id": 0, "prompt": "\\u770b\\u56fe\\u3002\\n\\u54ea\\u4e2a\\u66f4\\u91cd?\\n'
        'A. The ball\\nB. The box\\nC. Both\\nD. None of them", '
        f'"text": {json.dumps(answer["text"])}, "options": ["The ball", "The box", "Both", "None of them"], '
        '"option_char": ["A", "B", "C", "D"], '
        f'"answer_id": "{answer["answer_id"]}", "model_id": "llava-tiny-12l", "metadata": {{}}}}'
    )
    assert [record["question_id"] for record in records(path.parent / "a.jsonl")] == [
        *(241 + 1000000 * turn for turn in range(4)),
        *(252 + 1000000 * turn for turn in range(3)),
    ]


def test_rounds_of_a_row_stay_in_one_chunk_and_are_continued(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = table(tmp_path, row(1), row(2, C="third"), row(3))
    flags = ["--all-rounds", "--num-chunks", 2, "--chunk-idx"]
    assert ask(capsys, path, *flags, 0).code == 0
    first = [(record["question_id"], record["round_id"]) for record in records(tmp_path / "a.jsonl")]
    assert first == [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]
    whole = (tmp_path / "a.jsonl").read_bytes()
    (tmp_path / "a.jsonl").write_bytes(b"".join(whole.splitlines(keepends=True)[:3]))
    again = ask(capsys, path, *flags, 0)
    assert again.out.endswith("5 answers in " + str(tmp_path / "a.jsonl") + ", 3 of them from before\n")
    refused = ask(capsys, path, "--num-chunks", 2, "--chunk-idx", 0)
    assert refused.code == 2 and "has all_rounds = True, got False" in refused.err
    assert ask(capsys, path, *flags, 1, "--answers-file", tmp_path / "b.jsonl").code == 0
    assert [record["question_id"] for record in records(tmp_path / "b.jsonl")] == [3, 3]


def test_a_picture_may_be_that_of_another_row(tmp_path: Path) -> None:
    path = str(table(tmp_path, row(1000007, image=7), row(image=png("P")), row(8, image=png("RGBA"))))
    pictures = [image() for image in images_of(read_table(path), path)]
    assert [picture.mode for picture in pictures] == ["RGB"] * 3
    assert pictures[0].tobytes() == pictures[1].tobytes()


def test_cells_may_hold_line_breaks_in_quotes(tmp_path: Path) -> None:
    path = table(tmp_path, row(question='"Look:\n""up""?"'), row(8))
    assert [cells["question"] for cells, _ in read_rows(str(path))] == ['Look:\n"up"?', "Which?"]


def test_a_table_may_have_a_byte_order_mark_and_lines_of_windows(tmp_path: Path) -> None:
    path = table(tmp_path, row(), row(8))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_table(str(path))["index"].tolist() == [7, 8]


@pytest.mark.parametrize("name", ["http://127.0.0.1:9/t.tsv", "https://example.org/t.tsv", "s3://a/t.tsv", "ftp://a/t"])
def test_nothing_is_fetched(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket", lambda *_, **__: pytest.fail("an address was opened"))
    with pytest.raises(InputError, match="MMBench's table must be readable: "):
        read_table(name)


def test_archives_are_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv.gz"
    path.write_bytes(gzip.compress(b"\0" * 1_000_000))
    with pytest.raises(InputError, match="t.tsv.gz' is a gzip file; unpack it"):
        read_table(str(path))
    path.with_name("t.tsv.zip").write_bytes(b"PK\x03\x04\0")
    with pytest.raises(InputError, match="is a zip file, as Excel's"):
        read_table(str(path.with_name("t.tsv.zip")))


def broken() -> str:
    """A picture file cut in two."""
    data = base64.b64decode(png())
    return base64.b64encode(data[: len(data) // 2]).decode()


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([], "has a heading alone"),
        ([row("seven")], "row 1 has 'seven'"),
        ([row(), row("")], "row 2 has nan; fetch the table again"),
        ([row(), row("9" * 19)], "row 2 has '9999999999999999999'; fetch"),
        ([row("\u0663")], "an index must be a whole number of at most 15 digits: "),
        ([row(image="\u00e9" * 8)], "a picture must be base64 text: "),
        ([row(), row(8), row()], "row 3 has 7 again; remove a row"),
        ([row(), row(8, question="")], "row 2 (index 8) has none; fetch the table again"),
        ([row(), row(8, image="")], "every row needs a picture: "),
        ([row(), row(8, image=9)], "row 2 (index 8) has a reference to index 9, which has none"),
        ([row(image=8), row(8, image=7)], "row 1 (index 7) has a reference to index 8, which has none"),
        ([row(), row(8, image=png()[:-3])], "a picture must be base64 text: "),
        ([row(question='"open')], "a table must be tab-separated UTF-8 text: "),
        ([row(comment="a\tb", split="dev")], "a table must be tab-separated UTF-8 text: "),
    ],
)
def test_bad_tables_are_refused_before_weights_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, rows: list, complaint: str
) -> None:
    monkeypatch.setattr(llava_run, "load_model", lambda *_, **__: pytest.fail("weights were read"))
    path = table(tmp_path, *rows)
    done = ask(capsys, path)
    assert done.code == 2 and complaint in done.err and str(path) in done.err
    assert done.err.startswith("error: ") and done.err.count("\n") == 0


def test_an_empty_file_and_missing_columns(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = table(tmp_path, row(), columns=[name for name in published_mmbench.COLUMNS if name not in ("hint", "D")])
    assert "needs the columns index, question, hint, A, B, C, D, image: " in ask(capsys, path).err
    assert "lacks hint, D; take the" in ask(capsys, path).err
    path.write_text("")
    assert f"a table must hold rows: '{path}' is empty" in ask(capsys, path).err
    assert ask(capsys, tmp_path / "gone.tsv").code == 2


def test_a_damaged_picture_keeps_the_answers_before_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = table(tmp_path, row(), row(8, image=broken()), row(9))
    done = ask(capsys, path)
    assert done.code == 2 and f"(asked for in {path} row 2 (index 8))" in done.err and done.err.count("\n") == 0
    assert [record["question_id"] for record in records(tmp_path / "a.jsonl")] == [7]
