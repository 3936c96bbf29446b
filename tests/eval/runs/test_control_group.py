"""A run takes no more memory than its container or batch job was given."""

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from llava.eval.runs import memory
from llava.eval.runs.control_group import room

GIB = 2**30
NONE = "9223372036854771712"  # what the first version writes where nothing is limited


def write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def second(folder: Path, limit: str, used: int, remembered: int = 0) -> None:
    stat = f"anon {used - remembered}\ninactive_file {remembered // 2}\nactive_file {remembered - remembered // 2}\n"
    write(folder, {"memory.max": limit + "\n", "memory.current": f"{used}\n", "memory.stat": stat})


def first(folder: Path, limit: str, used: int, remembered: int = 0) -> None:
    stat = f"inactive_file 1\ntotal_inactive_file {remembered}\ntotal_active_file 0\n"
    write(folder, {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": f"{used}", "memory.stat": stat})


def own(folder: Path, text: str) -> Path:
    (folder / "own").write_text(text)
    return folder / "own"


def test_a_container_is_mounted_as_the_root(tmp_path: Path) -> None:
    second(tmp_path, str(8 * GIB), 5 * GIB, remembered=4 * GIB)
    assert room(tmp_path, own(tmp_path, "0::/\n")) == 7 * GIB
    second(tmp_path, str(2 * GIB), 3 * GIB)
    assert room(tmp_path, own(tmp_path, "0::/\n")) == 0


def test_the_tightest_of_the_groups_that_lie_in_each_other_counts(tmp_path: Path) -> None:
    second(tmp_path / "slurm", str(4 * GIB), 1 * GIB)
    second(tmp_path / "slurm/job_1", "max", 1 * GIB)
    second(tmp_path / "slurm/job_1/step_0", str(6 * GIB), 1 * GIB)
    second(tmp_path / "slurm/job_2", str(GIB), 0)
    assert room(tmp_path, own(tmp_path, "0::/slurm/job_1/step_0\n")) == 3 * GIB


def test_the_first_version_has_a_folder_of_its_own(tmp_path: Path) -> None:
    groups = own(tmp_path, "5:devices:/\n4:cpu,memory:/docker/ab:c\n0::/\n")
    assert room(tmp_path, groups) is None
    first(tmp_path / "memory", NONE, GIB)
    assert room(tmp_path, groups) > 1000 * GIB
    first(tmp_path / "memory/docker/ab:c", str(3 * GIB), 2 * GIB, remembered=GIB)
    assert room(tmp_path, groups) == 2 * GIB


def test_nothing_is_limited_where_there_are_no_groups(tmp_path: Path) -> None:
    assert room(tmp_path, tmp_path / "none") is None
    assert room(tmp_path, own(tmp_path, "0::/a\nodd line\n")) is None
    second(tmp_path / "a", "max", GIB)
    assert room(tmp_path, own(tmp_path, "0::/a\n")) is None


def test_free_memory_is_the_less_of_machine_and_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=64 * GIB))
    free = []
    for allowed in (None, 100 * GIB, 32 * GIB, 0):
        monkeypatch.setattr(memory.control_group, "room", lambda allowed=allowed: allowed)
        free.append(memory.free_bytes(torch.device("cpu")))
    assert free[0] == pytest.approx(free[1], abs=GIB) and 62 * GIB < free[0] <= 64 * GIB
    assert 30 * GIB < free[2] <= 32 * GIB and free[3] == 0
