"""LLaVA-1.6's scripts: those of v1.5 with another budget and the checkpoint's own template."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
from stubs import SCRIPTS, SCRIPTS_OF_NEXT, Start, calls, gone, starter, value

SINCE = re.compile(r"--since\x1f\d+")  # the moment a script began
NAMES = sorted(path.stem for path in SCRIPTS.glob("*.sh") if path.stem not in ("common", "all", "shapes"))


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts scripts in this test's folder."""
    return starter(tmp_path, SCRIPTS_OF_NEXT)


def test_every_benchmark_has_a_script_and_all_can_be_executed() -> None:
    """The shapes are pictures for the repository's own model."""
    assert sorted(path.stem for path in SCRIPTS_OF_NEXT.glob("*.sh")) == sorted([*NAMES, "all", "common"])
    assert all(os.access(path, os.X_OK) for path in SCRIPTS_OF_NEXT.glob("*.sh") if path.name != "common.sh")


@pytest.mark.parametrize("name", NAMES)
def test_it_starts_what_its_namesake_starts(start: Start, tmp_path: Path, name: str) -> None:
    checkpoint = {"CKPT": "models/llava-v1.6-mistral-7b"}
    assert starter(tmp_path)(name, **checkpoint, RETAIN=320, CONV_MODE="auto").wait() == 0
    wanted = (tmp_path / "calls").read_text()
    (tmp_path / "calls").unlink()
    run = start(name, **checkpoint)
    assert run.wait() == 0, run.stderr.read()
    found = (tmp_path / "calls").read_text()
    assert [SINCE.sub("", line) for line in found.splitlines()] == [SINCE.sub("", line) for line in wanted.splitlines()]
    [(_, arguments)] = calls(tmp_path, "model_vqa")
    assert value(arguments, "--retain") == "320" and value(arguments, "--conv-mode") == "auto"
    assert "llava-v1.6-mistral-7b_visiondrop_320" in value(arguments, "--answers-file")


@pytest.mark.parametrize(
    ("settings", "flags"),
    [
        ({"RETAIN": 160}, {"--retain": "160", "--conv-mode": "auto"}),
        ({"RETAIN": 640, "METHOD": "visionzip"}, {"--retain": "640", "--method": "visionzip"}),
        ({"CONV_MODE": "chatml_direct"}, {"--retain": "320", "--conv-mode": "chatml_direct"}),
        ({"METHOD": "none"}, {"--method": "none", "--retain": None}),
        ({"METHOD": "dart", "PRESET": "paper-64"}, {"--preset": "paper-64", "--retain": None}),
        ({"METHOD": "visionzip", "DOMINANT": 54, "CONTEXTUAL": 10}, {"--dominant": "54", "--retain": None}),
    ],
)
def test_settings_go_before_defaults(start: Start, tmp_path: Path, settings: dict, flags: dict) -> None:
    assert start("gqa", "--show", "3", **settings).wait() == 0
    [(_, arguments)] = calls(tmp_path, "model_vqa_loader")
    assert {flag: value(arguments, flag) if flag in arguments else None for flag in flags} == flags
    assert value(arguments, "--show") == "3"


@pytest.mark.parametrize("name", ["pope", "all", "mmbench_cn"])
def test_any_shell_and_any_place(start: Start, tmp_path: Path, name: str) -> None:
    """`sh pope.sh`, a link, and a copy that a batch system makes of a script started in the repository."""
    link, copy = tmp_path / "link.sh", tmp_path / "spool.sh"
    link.symlink_to(SCRIPTS_OF_NEXT / f"{name}.sh")
    copy.write_text((SCRIPTS_OF_NEXT / f"{name}.sh").read_text())
    lost = start(str(copy.with_suffix("")))
    assert lost.communicate()[1].count("\n") == 1 and lost.returncode == 2
    (tmp_path / "scripts").symlink_to(SCRIPTS.parents[1])
    more = ["pope"] if name == "all" else []
    for script, shell in ((name, "sh"), (str(link.with_suffix("")), "bash"), (str(copy.with_suffix("")), "bash")):
        (tmp_path / "calls").unlink(missing_ok=True)
        run = start(script, *more, shell=shell)
        assert run.wait() == 0, run.stderr.read()
        [(_, arguments)] = calls(tmp_path, "model_vqa")
        assert value(arguments, "--retain") == "320"


def test_what_is_missing_is_one_line_with_this_script_in_it(start: Start) -> None:
    run = start("pope", CKPT="")
    said = run.communicate()[1]
    assert (
        said.startswith("error: CKPT must name a checkpoint; run: CKPT=path/to/llava-v1.6-") and said.count("\n") == 1
    )
    assert said.endswith("scripts/v1_6/visiondrop_eval/pope.sh\n") and run.returncode == 2
    alone = start("common")
    assert alone.communicate()[1].startswith("error: common.sh is what the") and alone.returncode == 2


def test_a_script_that_is_told_to_stop_leaves_no_process(start: Start, tmp_path: Path) -> None:
    script, pids = start("pope", SLEEP=60, CHUNKS=2), tmp_path / "calls.pids"
    while not pids.exists() or len(pids.read_text().splitlines()) < 2:
        time.sleep(0.02)
    script.send_signal(signal.SIGTERM)
    assert script.wait(timeout=5) == 143
    assert gone([int(pid) for pid in pids.read_text().splitlines()])
