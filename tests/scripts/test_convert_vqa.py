"""The upload files of VizWiz and VQAv2: their bytes, what is printed, and what is refused."""

import json
import runpy
from pathlib import Path

import published
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
SPLIT = "llava_vqav2_mscoco_test-dev2015"


def convert(name: str, monkeypatch: pytest.MonkeyPatch, *flags: object) -> None:
    """Run `scripts/convert_NAME_for_submission.py` as a command."""
    script = str(SCRIPTS / f"convert_{name}_for_submission.py")
    monkeypatch.setattr("sys.argv", [script, *map(str, flags)])
    runpy.run_path(script, run_name="__main__")


def refused(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, name: str, *flags: object) -> str:
    """What a refused conversion complains of, in its one line."""
    with pytest.raises(SystemExit) as stopped:
        convert(name, monkeypatch, *flags)
    complaint = capsys.readouterr().err
    assert stopped.value.code == 2 and complaint.count("error: ") == 1
    return complaint


def answers(path: Path, texts: dict, tail: str = "") -> Path:
    """An answers file, `tail` as it stands behind its lines."""
    published.lines(path, [{"question_id": key, "prompt": "?", "text": text} for key, text in texts.items()])
    path.write_text(path.read_text() + tail)
    return path


@pytest.fixture
def vizwiz(tmp_path: Path) -> list[object]:
    """The converter's flags for five questions and their answers."""
    published.vizwiz(tmp_path)
    folder = tmp_path / "vizwiz"
    texts = ["Unanswerable", "John's caf\u00e9, please!", "2:30 p.m.", "", "The Cat"]
    result = answers(folder / "answers/run.jsonl", dict(reversed(list(enumerate(texts)))))
    upload = folder / "answers_upload/new/run.json"
    return ["--annotation-file", folder / "llava_test.jsonl", "--result-file", result, "--result-upload-file", upload]


@pytest.fixture
def vqav2(tmp_path: Path) -> Path:
    """The benchmark's folder: five questions of test-dev answered, eight of test2015."""
    published.vqav2(tmp_path)
    folder = tmp_path / "vqav2"
    texts = ["Yes", "two dogs", "1,000", "red-blue", "N/A"]
    ids = [262144000 + number for number in range(5)]
    answers(folder / f"answers/{SPLIT}/run/merge.jsonl", dict(zip(ids, texts)))
    return folder


def test_vizwiz_upload_file_to_the_byte(
    vizwiz: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    convert("vizwiz", monkeypatch, *vizwiz)
    assert vizwiz[-1].read_bytes() == (
        b'[{"image": "VizWiz_test_00000000.jpg", "answer": "unanswerable"}, '
        b'{"image": "VizWiz_test_00000001.jpg", "answer": "john \'s caf\\u00e9 please"}, '
        b'{"image": "VizWiz_test_00000002.jpg", "answer": "2:30 pm"}, '
        b'{"image": "VizWiz_test_00000003.jpg", "answer": ""}, '
        b'{"image": "VizWiz_test_00000004.jpg", "answer": "cat"}]'
    )
    out, err = capsys.readouterr()
    assert (out, err) == ("total results: 5, total split: 5, error_line: 0\n", "WARNING: 1 answers are empty: 3\n")


def test_vizwiz_skips_and_counts_a_torn_last_line_and_takes_the_last_of_several_answers(
    vizwiz: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    more = '\n{"question_id": 3, "text": "one"}\n{"question_id": 3, "text": "Ten"}\n{"question_id": 4, "te'
    vizwiz[3].write_text(vizwiz[3].read_text() + more)
    convert("vizwiz", monkeypatch, *vizwiz)
    out, err = capsys.readouterr()
    assert out == "total results: 5, total split: 5, error_line: 1\n"  # blank lines are none
    assert err == "WARNING: 1 questions have several answers, the last one counts: 3\n"
    assert [item["answer"] for item in json.loads(vizwiz[-1].read_text())][3:] == ["10", "cat"]


def test_vizwiz_names_missing_answers_and_writes_nothing(
    vizwiz: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    answers(vizwiz[3], {2: "x"})
    assert "has none to 4 (0, 1, 3, ...); run the benchmark again" in refused(capsys, monkeypatch, "vizwiz", *vizwiz)
    assert not vizwiz[-1].exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"question_id": 77, "text": "x"}\n', "run.jsonl' is about 77, which is not in"),
        ('{"question_id": "0", "text": "x"}\n', "run.jsonl' has none to 4 (1, 2, 3, ...)"),
        ('{"question_id": 0, "text": "x"},\n{"question_id": 1, "text": "x"},\n', "run.jsonl line 1 is none"),
        ('{"question_id": 0, "text": "x"},', "run.jsonl line 1 is none"),
        ('{"question_id": 0, "te\n{"question_id": 1, "text": "x"}\n', "run.jsonl line 1 is none"),
        ('{"question_id": 0, "text": "x", "metadata": {}', "run.jsonl' is empty or torn"),
        ('{"question_id": 0}\n', "line 1 lacks text"),
        ('\n["question_id", "text"]\n', "line 2 is a JSON array"),
        ('{"question_id": 0, "text": null}\n', "line 1 has None"),
        ('{"question_id": [0], "text": ""}\n', "line 1 has [0]"),
        ("no JSON at all\n", "run.jsonl line 1 is none"),
        ("", "run.jsonl' is empty or torn"),
        (None, "an answers file must be readable"),
    ],
)
def test_vizwiz_refuses_bad_answers(
    vizwiz: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, content: str | None, complaint: str
) -> None:
    vizwiz[3].unlink() if content is None else vizwiz[3].write_text(content)
    assert complaint in refused(capsys, monkeypatch, "vizwiz", *vizwiz)
    assert not vizwiz[-1].exists()


def test_vizwiz_refuses_questions_without_image(
    vizwiz: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    published.lines(vizwiz[1], [{"question_id": 0}])
    assert "line 1 lacks image" in refused(capsys, monkeypatch, "vizwiz", *vizwiz)


def flags_of(folder: Path) -> list[object]:
    """The flags of VQAv2's converter."""
    return ["--dir", folder, "--split", SPLIT, "--ckpt", "run"]


def test_vqav2_upload_file_to_the_byte(
    vqav2: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    convert("vqav2", monkeypatch, *flags_of(vqav2))
    expected = ["yes", "2 dogs", "1000", "red blue", "n", "", "", ""]
    items = [f'{{"question_id": {262144000 + n}, "answer": "{text}"}}' for n, text in enumerate(expected)]
    assert (vqav2 / f"answers_upload/{SPLIT}/run.json").read_bytes() == f"[{', '.join(items)}]".encode()
    out, err = capsys.readouterr()
    assert (out, err) == ("total results: 5, total split: 8, error_line: 0\n", "")


def test_vqav2_names_asked_questions_without_answer(
    vqav2: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    file = vqav2 / f"answers/{SPLIT}/run/merge.jsonl"
    first, second = [json.dumps({"question_id": 262144004, "text": text}) for text in ("left", "right")]
    file.write_text(f'\n{first}\n{second}\n{{"question_id": 2621')
    asked = "has none to 4 (262144000, 262144001, 262144002, ...); run the benchmark again"
    assert asked in refused(capsys, monkeypatch, "vqav2", *flags_of(vqav2)).splitlines()[-1]
    assert not (vqav2 / "answers_upload").exists()
    convert("vqav2", monkeypatch, *flags_of(vqav2), "--allow-missing")
    out, err = capsys.readouterr()
    assert out == "total results: 1, total split: 8, error_line: 1\n"
    assert err == (
        "WARNING: 1 questions have several answers, the last one counts: 262144004\n"
        "WARNING: 4 questions have no answer and get an empty one: 262144000, 262144001, 262144002, ...\n"
    )
    upload = json.loads((vqav2 / f"answers_upload/{SPLIT}/run.json").read_text())
    assert [item["answer"] for item in upload] == ["", "", "", "", "right", "", "", ""]


def test_vqav2_without_the_split_s_question_file_counts_all_of_test2015(
    vqav2: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (vqav2 / f"{SPLIT}.jsonl").unlink()
    convert("vqav2", monkeypatch, *flags_of(vqav2))
    assert "WARNING: 3 questions have no answer" in capsys.readouterr().err


def test_vqav2_refuses_answers_of_another_file_and_missing_ones(
    vqav2: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    answers(vqav2 / f"answers/{SPLIT}/run/merge.jsonl", {5: "x"})
    assert "is about 5, which is not in" in refused(capsys, monkeypatch, "vqav2", *flags_of(vqav2))
    other = [*flags_of(vqav2)[:-1], "other"]
    assert "other/merge.jsonl' is not" in refused(capsys, monkeypatch, "vqav2", *other)
    (vqav2 / "llava_vqav2_mscoco_test2015.jsonl").unlink()
    assert "test2015.jsonl' is not" in refused(capsys, monkeypatch, "vqav2", *flags_of(vqav2))
    assert not (vqav2 / "answers_upload").exists()


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("vizwiz", ["--annotation-file", "a", "--result-file", "b"]),
        ("vqav2", ["--dir", "."]),
    ],
)
def test_flags_are_required_as_in_llava(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, name: str, flags: list[str]
) -> None:
    missing = {"vizwiz": "--result-upload-file", "vqav2": "--ckpt, --split"}[name]
    assert f"required: {missing};" in refused(capsys, monkeypatch, name, *flags)
