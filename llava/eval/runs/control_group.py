"""What Linux's control groups leave of memory: containers and batch systems give less than the machine has.

Files as in the kernel's cgroup-v1/memory and cgroup-v2 documentation.
"""

from pathlib import Path
from typing import NamedTuple

ROOT, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


class _Version(NamedTuple):
    """Names of a version's files, and of the numbers of remembered file pages, which make way."""

    folder: str
    limit: str
    used: str
    remembered: tuple[str, str]


_FIRST = _Version(
    "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")
)
_SECOND = _Version("", "memory.max", "memory.current", ("inactive_file", "active_file"))


def room(root: Path = ROOT, own: Path = OWN) -> int | None:
    """Bytes that this process's groups may still take, the tightest of them counting; None: nothing limits them.

    Args:
        root: where control groups are mounted.
        own: the list of the process's groups, one `number:controllers:/path` a line.
    """
    rooms = []
    for line in _text(own).splitlines():
        number, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if "memory" in controllers.split(","):
            rooms += _rooms(root, path, _FIRST)
        elif number == "0":
            rooms += _rooms(root, path, _SECOND)
    return min(rooms, default=None)


def _rooms(root: Path, path: str, version: _Version) -> list[int]:
    """Of a group and those that it lies in; inside a container its own group is mounted as the root."""
    mount = root / version.folder
    group = mount / path.strip("/")
    folders = [folder for folder in (group, *group.parents) if folder.is_relative_to(mount)]
    return [left for folder in folders if (left := _left(folder, version)) is not None]


def _left(folder: Path, version: _Version) -> int | None:
    limit, used = _text(folder / version.limit).strip(), _text(folder / version.used).strip()
    if not (limit.isdecimal() and used.isdecimal()):  # no such group here, or `max`
        return None
    numbers = dict(line.split(" ", 1) for line in _text(folder / "memory.stat").splitlines() if " " in line)
    remembered = sum(int(numbers.get(name, 0)) for name in version.remembered)
    return max(0, int(limit) - max(0, int(used) - remembered))


def _text(path: Path) -> str:
    """A file of the kernel's; nothing where there is none."""
    try:
        return path.read_text()
    except OSError:
        return ""
