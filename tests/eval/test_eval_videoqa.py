"""Video benchmarks: published forms, the question file, exact match, what the grading by GPT takes and gives."""

import json
from collections.abc import Callable
from pathlib import Path

import published
import pytest
from commands import Outcome, call, call_script
from films import greys, write_film

from llava.eval.benchmarks.videoqa import read_annotations

FOLDER = "GPT_Zero_Shot_QA/Activitynet_Zero_Shot_QA"
TEXTS = ["Cooking.", "2", "a woman", "No"]  # cooking, two, man, no
IDS = ["clip_a_0", "clip_b_1", "clip_a_2", "clip_b_3"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """ActivityNet-QA's folder with answers: three right, one wrong."""
    published.WRITERS["activitynet"](tmp_path)
    folder = tmp_path / FOLDER
    answer(folder, dict(zip(IDS, TEXTS)))
    return folder


def answer(folder: Path, texts: dict) -> None:
    """An answers file."""
    published.lines(folder / "merge.jsonl", [{"question_id": name, "text": text} for name, text in texts.items()])


def evaluate(folder: Path, capsys: pytest.CaptureFixture, *more: object) -> Outcome:
    """The scorer."""
    files = ["--questions", folder / "test_q.json", "--answers", folder / "test_a.json"]
    where = ["--dataset", "activitynet", *files, "--result-file", folder / "merge.jsonl"]
    return call("eval_videoqa", capsys, *where, *more)


def convert(folder: Path, capsys: pytest.CaptureFixture, dataset: str, *flags: object) -> Outcome:
    """The maker of question files."""
    output = ["--video-folder", folder / "videos", "--output", folder / "made/questions.jsonl"]
    return call_script("convert_videoqa_questions", capsys, "--dataset", dataset, *output, *flags)


def made(folder: Path) -> list[dict]:
    """What it has made."""
    return [json.loads(line) for line in (folder / "made/questions.jsonl").read_text().splitlines()]


def test_printed_form_and_last_line(data: Path, capsys: pytest.CaptureFixture) -> None:
    done = evaluate(data, capsys)
    assert done.code == 0 and done.err == ""
    assert done.out.splitlines()[:4] == [
        *("Exact match: 75.00%", "  Motion: 100.00%", "  Spatial Relationship: 100.00%", "  Yes/No: 50.00%"),
    ]
    assert json.loads(done.out.splitlines()[-1]) == {
        "benchmark": "activitynet",
        "metric": "exact match",
        "score": 75.0,
        "questions": 4,
        "missing": 0,
        "undecided": 0,
        "types": {"Motion": 100.0, "Spatial Relationship": 100.0, "Yes/No": 50.0},
    }


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("cooking", True),
        ("The cooking", True),
        ("Cooking!", True),
        ("cook", False),
        ("", False),
        ("not cooking", False),
    ],
)
def test_an_answer_is_right_if_it_is_the_annotated_one_normalised(
    data: Path, capsys: pytest.CaptureFixture, text: str, right: bool
) -> None:
    answer(data, dict(zip(IDS, [text, "three", "dog", "yes"])))
    assert json.loads(evaluate(data, capsys).out.splitlines()[-1])["score"] == (25.0 if right else 0.0)


def test_missing_answers_are_refused_or_left_out(data: Path, capsys: pytest.CaptureFixture) -> None:
    answer(data, dict(zip(IDS[:3], TEXTS)))
    refused = evaluate(data, capsys)
    assert refused.code == 2 and "has none to 1 ('clip_b_3'); run the benchmark again" in refused.err
    done = evaluate(data, capsys, "--allow-missing")
    last = json.loads(done.out.splitlines()[-1])
    assert (last["score"], last["missing"], last["questions"]) == (pytest.approx(200 / 3), 1, 3)


def test_empty_answers_are_wrong_and_said(data: Path, capsys: pytest.CaptureFixture) -> None:
    answer(data, dict(zip(IDS, ["", *TEXTS[1:]])))
    done = evaluate(data, capsys)
    assert "WARNING: 1 answers are empty: 'clip_a_0'" in done.err
    assert json.loads(done.out.splitlines()[-1])["undecided"] == 1


def test_what_gpt_grades_is_video_chatgpts_file(data: Path, capsys: pytest.CaptureFixture) -> None:
    assert evaluate(data, capsys, "--gpt-file", data / "gpt/to_grade.jsonl").code == 0
    lines = [json.loads(line) for line in (data / "gpt/to_grade.jsonl").read_text().splitlines()]
    assert lines[0] == {
        "id": "clip_a_0", "question": "what is the man doing?", "answer": "cooking", "pred": "Cooking."
    }  # fmt: skip
    assert list(lines[0]) == ["id", "question", "answer", "pred"] and len(lines) == 4


def test_check_reads_all_but_the_answers_and_writes_nothing(data: Path, capsys: pytest.CaptureFixture) -> None:
    (data / "merge.jsonl").unlink()
    assert evaluate(data, capsys, "--check", "--gpt-file", data / "g.jsonl") == Outcome(0, "", "")
    assert not (data / "g.jsonl").exists()


def graded(folder: Path, grades: list[tuple[object, object]], suffix: str = "") -> Path:
    """A results file of the grading."""
    content = {
        f"{name}{suffix}": [{"pred": said, "score": score}, {"q": "q", "a": "a", "pred": text}]
        for name, text, (said, score) in zip(IDS, TEXTS, grades)
    }
    path = folder / "results.json"
    path.write_text(json.dumps(content))
    return path


GRADES = [("yes", 5), ("Yes.", "4"), ("no", 2.9), ("yes", 3)]


@pytest.mark.parametrize("suffix", ["", "_0"])
def test_grades_are_read_back(data: Path, capsys: pytest.CaptureFixture, suffix: str) -> None:
    path = graded(data, GRADES, suffix)
    done = evaluate(data, capsys, "--graded", path)
    assert done.code == 0 and "Accuracy by GPT: 75.00%\n" in done.out and "Average score by GPT: 3.50\n" in done.out
    last = json.loads(done.out.splitlines()[-1])
    assert (last["benchmark"], last["metric"], last["score"]) == ("activitynet_gpt", "accuracy by GPT", 75.0)
    assert (last["average_score"], last["unclear"], last["exact_match"]) == (3.5, 0, 75.0)
    assert last["types"] == {"Motion": 100.0, "Spatial Relationship": 100.0, "Yes/No": 50.0}
    folder = data / "grades"
    folder.mkdir()
    for name, entry in json.loads(path.read_text()).items():
        (folder / f"{name}.json").write_text(json.dumps(entry))
    assert evaluate(data, capsys, "--graded", folder).out == done.out


def test_grades_of_neither_kind_count_for_the_average_alone(data: Path, capsys: pytest.CaptureFixture) -> None:
    done = evaluate(data, capsys, "--graded", graded(data, [*GRADES[:3], ("unsure", 1)]))
    assert "WARNING: 1 grades are neither yes nor no" in done.err
    last = json.loads(done.out.splitlines()[-1])
    assert (last["score"], last["average_score"], last["unclear"]) == (pytest.approx(200 / 3), 3.0, 1)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda content: content.pop("clip_b_3"), "has none of 1 answers, the first 'clip_b_3'"),
        (lambda content: content.update(other=content["clip_a_0"]), "is about 'other', which is not in"),
        (lambda content: content.update(clip_a_0_0=content["clip_a_0"]), "grades 'clip_a_0' again; remove one"),
        (lambda content: content.update(clip_a_0={"pred": "yes"}), "a grade is a list of"),
        (lambda content: content["clip_a_0"].pop(), "a grade is a list of"),
        (lambda content: content["clip_a_0"][0].pop("pred"), "a grade is a list of"),
        (lambda content: content["clip_a_0"][0].update(score="many"), "a number from 0 to 5: "),
        (lambda content: content["clip_a_0"][0].update(score=6), "a number from 0 to 5: "),
        (lambda content: content["clip_a_0"][0].update(score=True), "a number from 0 to 5: "),
        (lambda content: content["clip_a_0"][1].update(pred="Dancing."), "is of 'Dancing.', the answer is 'Cooking.'"),
        (lambda content: content.clear(), "has none of 4 answers"),
    ],
)
def test_gradings_of_something_else_are_refused(
    data: Path, capsys: pytest.CaptureFixture, spoil: Callable[[dict], object], complaint: str
) -> None:
    path = graded(data, GRADES)
    content = json.loads(path.read_text())
    spoil(content)
    path.write_text(json.dumps(content))
    refused = evaluate(data, capsys, "--graded", path)
    assert refused.code == 2 and complaint in refused.err and "\n" not in refused.err
    assert "benchmark" not in refused.out


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


def change(name: str, spoil: Callable[[list], object]) -> Callable[[Path], None]:
    """A change of one of the two lists."""

    def changing(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        spoil(content)
        (folder / name).write_text(json.dumps(content))

    return changing


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: (folder / "test_q.json").unlink(), "a question file must be readable"),
        (lambda folder: (folder / "test_q.json").write_text("{}"), "are a JSON list, or TGIF-QA's table"),
        (lambda folder: (folder / "test_q.json").write_text(""), "are a JSON list, or TGIF-QA's table"),
        (lambda folder: (folder / "test_q.json").write_text("[]"), "a JSON list of objects: "),
        (lambda folder: (folder / "test_q.json").write_text("[1]"), "a JSON list of objects: "),
        (lambda folder: (folder / "test_q.json").write_text("[{"), "a question file must be JSON"),
        (lambda folder: (folder / "test_a.json").write_text("[{}"), "an answer file must be JSON"),
        (lambda folder: (folder / "test_a.json").write_text('{"a": 1}'), "a JSON list of objects: "),
        (change("test_a.json", lambda content: content.pop()), "4 questions, "),
        (change("test_a.json", lambda content: content[0].update(question_id="x")), "has none to 'clip_a_0'"),
        (change("test_a.json", lambda content: content.__setitem__(0, content[1])), "answers one again"),
        (change("test_a.json", lambda content: content[0].pop("answer")), "question 1 has None; give the file of"),
        (change("test_a.json", lambda content: content[2].update(answer=["a"])), "question 3 has ['a']"),
        (change("test_a.json", lambda content: content[1].update(type=9)), "0 to 8 (Motion, Spatial Relationship"),
        (change("test_a.json", lambda content: content[1].update(type=[1])), "question 2 has [1]"),
        (change("test_q.json", lambda content: content[1].update(question_id="clip_a_0")), "'clip_a_0' again"),
        (change("test_q.json", lambda content: content[1].pop("question")), "question 2 has None; fetch it again"),
        (change("test_q.json", lambda content: content[3].pop("video_name")), "question 4 does not; fetch"),
        (change("test_q.json", lambda content: content[3].update(video_name="")), "question 4 does not; fetch"),
        (lambda folder: answer(folder, {"other": "a"}), "is about 'other', which is not in"),
        (lambda folder: answer(folder, {"clip_a_0": 3}), "line 1 has 3; mend it"),
        (lambda folder: (folder / "merge.jsonl").write_text(""), "must hold lines"),
    ],
)
def test_bad_files_are_one_line_and_exit_code_2(
    data: Path, capsys: pytest.CaptureFixture, spoil: Callable[[Path], None], complaint: str
) -> None:
    spoil(data)
    refused = evaluate(data, capsys, "--gpt-file", data / "g.jsonl")
    assert refused.code == 2 and complaint in refused.err and "\n" not in refused.err and refused.out == ""
    assert not (data / "g.jsonl").exists()


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
