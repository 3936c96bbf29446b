"""Scripts under any shell and from any place, and settings that make no sense."""

import os
from pathlib import Path

import pytest
from stubs import SCRIPTS, Start, calls, starter, value


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts scripts in this test's folder."""
    return starter(tmp_path)


NAMES = (
    "gqa",
    "mme",
    "vqav2",
    "vizwiz",
    "seed",
    "mmvet",
    "llavabench",
    "mmbench",
    "mmbench_cn",
    "sqa",
    "textvqa",
    "pope",
)


@pytest.mark.parametrize("name", NAMES)
def test_scripts_need_no_particular_shell_and_no_particular_place(start: Start, tmp_path: Path, name: str) -> None:
    """`sh pope.sh`, a link, and a copy that a batch system makes of a script started in the repository."""
    link, copy = tmp_path / "link.sh", tmp_path / "spool.sh"
    link.symlink_to(SCRIPTS / f"{name}.sh")
    copy.write_text((SCRIPTS / f"{name}.sh").read_text())
    lost = start(str(copy.with_suffix("")), DATA=tmp_path / "nowhere")
    assert lost.communicate()[1].count("\n") == 1 and lost.returncode == 2 and not (tmp_path / "nowhere").exists()
    (tmp_path / "scripts").symlink_to(SCRIPTS.parents[1])
    for script, shell in ((name, "sh"), (str(link.with_suffix("")), "bash"), (str(copy.with_suffix("")), "bash")):
        (tmp_path / "calls").unlink(missing_ok=True)
        run = start(script, shell=shell)
        assert run.wait() == 0, run.stderr.read()
        assert len(calls(tmp_path, "model_vqa")) == 1


def test_common_alone_does_nothing_and_says_so(start: Start) -> None:
    run = start("common")
    assert (
        run.communicate()[1].startswith("error: common.sh is what the benchmark scripts share") and run.returncode == 2
    )


def test_scripts_can_be_executed() -> None:
    assert all(os.access(path, os.X_OK) for path in SCRIPTS.glob("*.sh"))


NUMBERS = ("CHUNKS", "WORLD_SIZE", "RANK", "LOCAL_RANK", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
ODD = (
    "1.5",
    "08",
    "2 3",
    "abc",
    "-1",
    "1e3",
    "0x10",
    "+1",
    "\u0663",
    "1\n2",
    "99999999999999999999",
    "a[$(touch evil)]",
)


@pytest.mark.parametrize("setting", NUMBERS)
@pytest.mark.parametrize("value", ODD)
def test_numbers_are_numbers_before_anything_is_calculated(
    start: Start, tmp_path: Path, setting: str, value: str
) -> None:
    run = start("pope", **{setting: value})
    err = run.communicate()[1]
    assert run.returncode == 2 and err.startswith(f"error: {setting} must be a whole number from "), err
    assert err.count("\n") == 1 and not (tmp_path / "evil").exists() and not (tmp_path / "calls").exists()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"CHUNKS": 0}, "CHUNKS must be a whole number from 1 to"),
        ({"WORLD_SIZE": 0, "RANK": 0}, "WORLD_SIZE must be a whole number from 1 to"),
        ({"RANK": 1}, "must be below WORLD_SIZE (SLURM_STEP_NUM_TASKS): got 1 of 1"),
        ({"RANK": 2, "WORLD_SIZE": 2}, "got 2 of 2"),
        ({"WORLD_SIZE": 2}, "RANK must say which of WORLD_SIZE=2 processes this is"),
        ({"SLURM_PROCID": 1}, "got 1 of 1"),
        *(
            ({"NAME": name}, "NAME must be the name of a file")
            for name in ("a/b", "../../x", "/x", ".", "..", "-x", "a\tb")
        ),
        *(({"SPLIT": name}, "SPLIT must be the name of a file") for name in ("a/b", "../../x", "/x", "..")),
        ({"CKPT": "."}, "NAME must be the name of a file"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    start: Start, tmp_path: Path, settings: dict[str, object], complaint: str
) -> None:
    run = start("gqa", **settings)
    err = run.communicate()[1]
    assert run.returncode == 2 and complaint in err and err.count("\n") == 1
    assert not (tmp_path / "data").exists() and not (tmp_path / "calls").exists()


def test_what_follows_the_script_goes_to_the_runner(start: Start, tmp_path: Path) -> None:
    for name in ("pope", "mmbench", "mmbench_cn"):
        assert start(name, "--show", "3 $(touch evil)").wait() == 0
    for _, arguments in calls(tmp_path, "model_vqa"):
        assert value(arguments, "--show") == "3 $(touch evil)"
    assert len(calls(tmp_path, "model_vqa")) == 3 and not (tmp_path / "evil").exists()


def test_requirements_are_looked_at_before_the_questions_are_asked(start: Start, tmp_path: Path) -> None:
    for name in ("gqa", "mme", "pope", "seed", "sqa", "textvqa", "vizwiz", "vqav2"):
        run = start(name, UNABLE="llava")
        assert run.wait() == 2 and "error: cannot" in run.stderr.read()
    assert not calls(tmp_path, "model_vqa")


def test_nothing_run_is_no_success(start: Start, tmp_path: Path) -> None:
    assert start("all", BREAK="llava.eval.prepare").wait() == 1
