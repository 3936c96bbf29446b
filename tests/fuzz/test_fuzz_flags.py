"""Values that nobody expects behind every flag of the commands: success, or one line and exit code 2."""

import os
import re
from pathlib import Path

import pytest
from scene import Scene, answers, module
from scenes import SCENES
from test_fuzz_commands import outcome

NASTY = (
    *("", " ", "-1", "0", "1.5", "nan", "inf", "-inf", "1e400", "1" + "0" * 30, "9" * 400, "0x10", "٣", "1_0", "None"),
    *("[", "[]", "[" * 5000, "[1,2", "[[1]]", "[1,'a']", "{}", "(1,)", "1;2", "[1e999]", "[-3,9]", "[NaN]"),
    *("\udcff", "a\nb", "\x1b[31mred", "../../../x", "/dev/null", "x" * 100_000, "--help-me", "auto", "cuda:99", "%s"),
)
COMMANDS = {"model_vqa_loader": "loader", "model_vqa_mmbench": "mmbench_runner", "merge": "merge", "report": "report"}
VISIONDROP = ("--dominant=42", "--contextual=6", "--layer_list=[3,6,9]", "--image_token_list=[[30,5],[22,4],[16,3]]")
# Flags that mean something to one method only, with the rest of what that method needs.
METHODS = {
    "--retain": ("--method=visiondrop",),
    "--keep": ("--method=random",),
    "--image_token_ratio_list": ("--method=pyramiddrop", "--layer_list=[3,6,9]"),
    **{flag.partition("=")[0]: ("--method=visiondrop", *VISIONDROP) for flag in VISIONDROP},
}


def flags_of(command: str, capsys: pytest.CaptureFixture) -> list[str]:
    """The flags of a command that take a value."""
    outcome(Scene([], module(command), ["--help"]))
    outside = capsys.readouterr()
    assert not outside.err
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "400")
        said = outcome(Scene([], module(command), ["--help"]))[1]
    return sorted(set(re.findall(r"^  (--[\w-]+) [A-Z{]", said, re.M)))


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_any_value_is_taken_or_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    scene = SCENES[COMMANDS[command]](tmp_path)
    flags = flags_of(command, capsys)
    assert len(flags) >= 2 and (command != "model_vqa_loader" or {"--retain", "--seed", "--show"} <= set(flags))
    # By default every other value behind a flag, and the others behind the next one.
    step = 1 if "FUZZ" in os.environ else 2
    for number, flag in enumerate(flags):
        for value in NASTY[number % step :: step]:
            if (flag, value) in {("--wait", "inf"), ("--wait", "1e400")}:
                continue  # waits, as it was told to
            before = METHODS.get(flag, ()) if command.startswith("model_vqa") else ()
            code, said = outcome(Scene([], scene.command, [*scene.arguments, *before, f"{flag}={value}"]))
            assert code in (0, 2), (flag, value[:50], code, said)
            assert code == 0 or (said.count("error: ") == 1 and len(said.splitlines()[-1]) < 1100), (flag, value[:50])


@pytest.mark.slow
def test_any_number_of_answers_is_shown(tmp_path: Path) -> None:
    scene = SCENES["finished"](tmp_path)
    answers(tmp_path / "pope/llava_pope_test.jsonl", tmp_path / "answers.jsonl", "Yes")
    codes = [outcome(Scene([], scene.command, [*scene.arguments, f"--show={value}"]))[0] for value in NASTY]
    assert set(codes) == {0, 2}
