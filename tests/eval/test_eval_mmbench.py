"""MMBench's scores, and answers and tables that have none."""

import json
from pathlib import Path

import published
import published_mmbench
import pytest
from commands import call
from mmbench_answers import answer, score

from llava.eval.benchmarks.mmbench import CIRCLE
from llava.eval.eval_mmbench import accuracies, circular


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
