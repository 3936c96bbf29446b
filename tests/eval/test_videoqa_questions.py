"""Video benchmarks: published forms become a question file."""

import json
from pathlib import Path

import published
import pytest
from commands import Outcome, call_script
from films import greys, write_film

from llava.eval.benchmarks.videoqa import read_annotations

FOLDER = "GPT_Zero_Shot_QA/Activitynet_Zero_Shot_QA"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """ActivityNet-QA's folder."""
    published.WRITERS["activitynet"](tmp_path)
    return tmp_path / FOLDER


def convert(folder: Path, capsys: pytest.CaptureFixture, dataset: str, *flags: object) -> Outcome:
    """The maker of question files."""
    output = ["--video-folder", folder / "videos", "--output", folder / "made/questions.jsonl"]
    return call_script("convert_videoqa_questions", capsys, "--dataset", dataset, *output, *flags)


def made(folder: Path) -> list[dict]:
    """What it has made."""
    return [json.loads(line) for line in (folder / "made/questions.jsonl").read_text().splitlines()]


def test_pairs_of_lists_become_a_question_file(data: Path, capsys: pytest.CaptureFixture) -> None:
    flags = ["--questions", data / "test_q.json", "--answers", data / "test_a.json"]
    done = convert(data, capsys, "activitynet", *flags, "--video-folder", data / "all_test")
    assert done.code == 0 and done.out.startswith("4 questions in ")
    published_lines = (data / "llava_activitynet_qa.jsonl").read_text()
    assert (data / "made/questions.jsonl").read_text() == published_lines
    done = convert(data, capsys, "activitynet", *flags, "--video-folder", data / "all_test", "--suffix", "")
    assert made(data)[0]["text"] == "what is the man doing?"


def films(folder: Path, *names: str) -> None:
    (folder / "videos").mkdir(exist_ok=True)
    for name in names:
        write_film(folder / "videos" / name, greys(2))


def test_msvds_own_list_with_its_names(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    films(tmp_path, "-4wsuPCjDBc_5_15.avi.mkv", "vid7.mkv")
    (tmp_path / "videos/-4wsuPCjDBc_5_15.avi.mkv").rename(tmp_path / "videos/-4wsuPCjDBc_5_15.avi")
    own = [
        {"answer": "squirrel", "id": 0, "question": "what is eating a nut?", "video_id": 1},
        {"answer": "someone", "id": 1, "question": "whose is it?", "video_id": 7},
    ]
    (tmp_path / "test_qa.json").write_text(json.dumps(own))
    (tmp_path / "youtube_mapping.txt").write_text("-4wsuPCjDBc_5_15 vid1\nxyz_1_2 vid2\n\n")
    flags = ["--questions", tmp_path / "test_qa.json", "--mapping", tmp_path / "youtube_mapping.txt"]
    assert convert(tmp_path, capsys, "msvd", *flags).code == 0
    assert [(line["question_id"], line["video"]) for line in made(tmp_path)] == [
        (0, "-4wsuPCjDBc_5_15.avi"),
        (1, "vid7.mkv"),
    ]
    kinds = [question.kind for question in read_annotations("msvd", str(tmp_path / "test_qa.json"))]
    assert kinds == ["what", "other"]


def test_msrvtts_own_list(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    films(tmp_path, "video7010.mkv")
    own = [{"answer": "run", "category_id": 14, "id": 158581, "question": "what do they do?", "video_id": 7010}]
    (tmp_path / "test_qa.json").write_text(json.dumps(own))
    assert convert(tmp_path, capsys, "msrvtt", "--questions", tmp_path / "test_qa.json").code == 0
    assert made(tmp_path)[0] == {
        "question_id": 158581,
        "video": "video7010.mkv",
        "text": "what do they do?\nAnswer the question using a single word or phrase.",
    }


def test_tgifs_own_table(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    films(tmp_path, "tumblr_a_250.mkv")
    (tmp_path / "videos/tumblr_b_400").mkdir()  # a folder of frames
    table = "gif_name\tquestion\tanswer\ttype\tvid_id\tdescription\n"
    table += 'tumblr_a_250\twhat is "it"?\tcat\t0\t17\ta cat\ntumblr_b_400\thow many?\ttwo\t1\t18\ttwo\n'
    (tmp_path / "Test_frameqa_question.csv").write_text(table)
    assert convert(tmp_path, capsys, "tgif", "--questions", tmp_path / "Test_frameqa_question.csv").code == 0
    assert [line["video"] for line in made(tmp_path)] == ["tumblr_a_250.mkv", "tumblr_b_400"]
    questions = read_annotations("tgif", str(tmp_path / "Test_frameqa_question.csv"))
    assert [(one.question_id, one.question, one.answer, one.kind) for one in questions] == [
        *(("0", 'what is "it"?', "cat", "Object"), ("1", "how many?", "two", "Number")),
    ]


def test_answers_without_ids_are_in_the_order_of_the_questions(data: Path) -> None:
    answers = json.loads((data / "test_a.json").read_text())
    (data / "test_a.json").write_text(json.dumps([{"answer": item["answer"]} for item in answers]))
    read = read_annotations("msvd", str(data / "test_q.json"), str(data / "test_a.json"))
    assert [one.answer for one in read] == ["cooking", "two", "man", "no"]
    (data / "test_a.json").write_text(json.dumps(answers[::-1]))  # with ids, the order does not matter
    read = read_annotations("msvd", str(data / "test_q.json"), str(data / "test_a.json"))
    assert [one.answer for one in read] == ["cooking", "two", "man", "no"]


@pytest.mark.parametrize(
    ("dataset", "name", "content", "complaint"),
    [
        ("tgif", "t.csv", "a\tb\n1\t2\n", "are a JSON list, or TGIF-QA's table"),
        ("tgif", "t.csv", 'gif_name\tquestion\tanswer\nx\t"a\tb\n', "has tabs between its columns"),
        ("tgif", "t.csv", "gif_name\tquestion\tanswer\nx\ta\n", "question 1 has None; give the file of answers"),
        ("tgif", "t.csv", "gif_name\tquestion\tanswer\ttype\nx\ta\tb\t4\n", "type is a number from 0 to 3"),
        ("msvd", "t.json", '[{"id": 1, "question": "a", "answer": "b", "video_id": 3}]', "lacks 1 ('vid3')"),
        ("msrvtt", "t.json", '[{"id": 1, "question": "a", "answer": "b", "video_id": 3}]', "lacks 1 ('video3')"),
        ("msrvtt", "t.json", '[{"id": 1.5, "question": "a", "answer": "b", "video_id": 3}]', "question 1 has 1.5"),
    ],
)
def test_bad_forms_make_no_question_file(
    tmp_path: Path, capsys: pytest.CaptureFixture, dataset: str, name: str, content: str, complaint: str
) -> None:
    films(tmp_path, "other.mkv")
    (tmp_path / name).write_text(content)
    refused = convert(tmp_path, capsys, dataset, "--questions", tmp_path / name)
    assert refused.code == 2 and complaint in refused.err and "\n" not in refused.err
    assert not (tmp_path / "made").exists()


def test_videos_are_found_by_name_and_absent_ones_are_refused_or_left_out(
    data: Path, capsys: pytest.CaptureFixture
) -> None:
    flags = ["--questions", data / "test_q.json", "--answers", data / "test_a.json"]
    flags += ["--video-folder", data / "all_test"]
    (data / "all_test/v_clip_b.mkv").rename(data / "all_test/clip_b.MKV")
    assert convert(data, capsys, "activitynet", *flags).code == 0
    assert [line["video"] for line in made(data)] == ["v_clip_a.mkv", "clip_b.MKV"] * 2
    (data / "all_test/clip_b.avi").touch()
    assert "has clip_b.MKV and clip_b.avi; keep one" in convert(data, capsys, "activitynet", *flags).err
    for name in ("clip_b.avi", "clip_b.MKV"):
        (data / "all_test" / name).unlink()
    refused = convert(data, capsys, "activitynet", *flags)
    assert refused.code == 2 and "lacks 1 ('v_clip_b'); fetch them, or give --allow-missing" in refused.err
    done = convert(data, capsys, "activitynet", *flags, "--allow-missing")
    assert done.err == "WARNING: 1 videos are not there; their 2 questions are left out: 'v_clip_b'"
    assert [line["question_id"] for line in made(data)] == ["clip_a_0", "clip_a_2"]
    (data / "all_test/v_clip_a.mkv").unlink()
    assert "must hold some: " in convert(data, capsys, "activitynet", *flags, "--allow-missing").err
