"""MME's calculation, as published for LLaVA-1.5-13B, and complaints about a subtask's file."""

import json
from pathlib import Path

import pytest
from commands import call

from llava.eval.benchmarks.mme import SUBTASKS
from llava.eval.eval_mme import Result, calculate, meaning

# Questions, right answers and pictures with both right of LLaVA-1.5-13B: what its published percentages amount to.
PUBLISHED = {
    **{"existence": (60, 57, 27), "count": (60, 51, 21), "position": (60, 46, 17), "color": (60, 54, 24)},
    **{"posters": (294, 254, 109), "celebrity": (340, 284, 118), "scene": (400, 347, 149)},
    **{"landmark": (400, 360, 161), "artwork": (400, 283, 94), "OCR": (40, 30, 10)},
    **{"commonsense_reasoning": (140, 103, 38), "numerical_calculation": (40, 15, 1)},
    **{"text_translation": (40, 23, 4), "code_reasoning": (40, 17, 1)},
}
SCORES = {"position": "133.33", "posters": "160.54", "celebrity": "152.94", "scene": "161.25", "landmark": "170.50"}
SCORES |= {"artwork": "117.75", "commonsense_reasoning": "127.86", "numerical_calculation": "42.50"}


def write_result(path: Path, counts: tuple[int, int, int]) -> None:
    """A subtask's file of so many questions, right ones and pictures with both right."""
    questions, right, both = counts
    marks = [(True, True)] * both + [(True, False)] * (right - 2 * both)
    marks += [(False, False)] * (questions // 2 - len(marks))
    rows = [
        f"{number}.txt\tIs it? Please answer yes or no.\t{truth}\t{truth if mark else 'Maybe'}\n"
        for number, pair in enumerate(marks)
        for mark, truth in zip(pair, ("Yes", "No"))
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(rows))


def test_published_scores_of_llava_13b(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for name, counts in PUBLISHED.items():
        write_result(tmp_path / f"{name}.txt", counts)
    done = call("eval_mme", capsys, "--results_dir", tmp_path)
    lines = done.out.splitlines()
    assert done.code == 0 and done.err.startswith(
        "WARNING: 450 answers are neither yes nor no and count as wrong: existence 3, count 9, position 14, "
    )
    assert json.loads(lines[-1])["undecided"] == 450
    assert lines[:4] == [
        *("=========== Perception ===========", "total score: 1531.3187274909965 ", ""),
        "\t existence  score: 185.0",
    ]
    assert lines[13:18] == ["", "", "=========== Cognition ===========", "total score: 295.3571428571429 ", ""]
    last = json.loads(lines[-1])
    assert (
        list(last)[:3] == ["benchmark", "metric", "score"] and last["score"] == 1531.3187274909965 + 295.3571428571429
    )
    assert (last["perception"], last["cognition"]) == (1531.3187274909965, 295.3571428571429)
    assert {name: f"{last['subtasks'][name]['score']:.2f}" for name in SCORES} == SCORES
    assert list(last["subtasks"]) == [*SUBTASKS["Perception"], *SUBTASKS["Cognition"]]
    assert last["subtasks"]["artwork"]["other"] == 400 - 283


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("Yes", "yes"),
        ("NO\n", "no"),
        ("yes.", "yes"),
        ("No, it is", "no"),
        (" yes", "yes"),
        ("oh yes", "other"),
        ("not", "no"),
        ("know", "no"),
        ("None", "no"),
        ("I do", "other"),
        ("", "other"),
        ("y", "other"),
        ("eyes", "yes"),
        ("ye s", "other"),
    ],
)
def test_first_four_characters_of_an_answer_count(text: str, means: str) -> None:
    assert meaning(text) == means


def test_a_picture_counts_when_both_answers_are_right_and_other_is_wrong() -> None:
    right, wrong, other = ("yes", "yes"), ("no", "yes"), ("no", "other")
    result = calculate([(right, right), (right, wrong), (wrong, other), (right, other)])
    assert result == Result(accuracy=0.5, accuracy_plus=0.25, other=2) and result.score == 75.0


ROW = "1.txt\tIs it? Please answer yes or no.\tYes\tYes\n"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "a subtask's answers must be readable"),
        ("", "code_reasoning.txt' has 0 lines"),
        (3 * ROW, "code_reasoning.txt' has 3 lines"),
        (ROW + ROW.replace("1.txt", "2.txt"), "code_reasoning.txt' has one for 1.txt; answer in"),
        (ROW + "1.txt\tIs it?\tYes\n", "code_reasoning.txt line 2 is '1.txt"),
        (ROW + ROW.replace("\tYes\tYes", "\tMaybe\tYes"), "code_reasoning.txt line 2 is '1.txt"),
        (ROW + ROW.replace("\n", "\tmore\n"), "code_reasoning.txt line 2 is '1.txt"),
    ],
)
def test_bad_files_of_a_subtask(
    tmp_path: Path, capsys: pytest.CaptureFixture, content: str | None, complaint: str
) -> None:
    for name, counts in PUBLISHED.items():
        write_result(tmp_path / f"{name}.txt", counts)
    last = tmp_path / "code_reasoning.txt"
    last.unlink() if content is None else last.write_text(content)
    refused = call("eval_mme", capsys, "--results_dir", tmp_path)
    assert refused.code == 2 and complaint in refused.err and "\n" not in refused.err and refused.out == ""


@pytest.mark.parametrize("flags", [[], ["--result-file", "a", "--data", "b"], ["--results_dir", "a", "--data", "b"]])
def test_what_to_score_is_said_in_one_way(capsys: pytest.CaptureFixture, flags: list[str]) -> None:
    refused = call("eval_mme", capsys, *flags)
    assert refused.code == 2 and "or by --results_dir alone" in refused.err
