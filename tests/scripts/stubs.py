"""A stub that stands for the interpreter: which processes the scripts start, with which flags, on which GPU."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts/v1_5/visiondrop_eval"
SCRIPTS_OF_NEXT = Path(__file__).parents[2] / "scripts/v1_6/visiondrop_eval"
# Writes its GPU and arguments down, one call a line, and fails or sleeps where it is told to.
STUB = r"""#!/usr/bin/env bash
line="$(printf '%s\x1f' "${CUDA_VISIBLE_DEVICES-unset}" "$@")"
printf '%s\n' "$line" >>"$CALLS"
[[ "$2" != "${BREAK:-no}" ]] || exit 4
if [[ "$*" == *--check && "$*" == *"${UNABLE:-no way}"* ]]; then echo "error: cannot" >&2; exit 2; fi
[[ "$2" == llava.eval.model_vqa* ]] || exit 0
if [[ -n "${DEAF:-}" ]]; then trap '' TERM; fi
if [[ -n "${SLEEP:-}" ]]; then echo "$$" >>"$CALLS.pids"; exec sleep "$SLEEP"; fi
if [[ "$*" == *"--chunk-idx ${FAIL:-no}" ]]; then printf 'a\nwas 1 of 9\rerror: it broke\n\n' >&2; exit 3; fi
"""

Start = Callable[..., subprocess.Popen]


def hear_hang_ups() -> None:
    """Let a hang-up do what it does in a terminal: under nohup it is ignored, which children inherit."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def starter(tmp_path: Path, scripts: Path = SCRIPTS) -> Start:
    """What starts scripts of a folder: `start("pope", ...)` is `bash pope.sh` with settings in the environment.

    A path without its ending may stand for `pope`. The stub and what it writes down lie in `tmp_path`.
    """
    (tmp_path / "stub").write_text(STUB)
    (tmp_path / "stub").chmod(0o755)

    def begin(name: str, *more: str, shell: str = "bash", **settings: object) -> subprocess.Popen:
        chosen = {"PATH": os.environ["PATH"], "CKPT": "models/llava-v1.5-7b", "DATA": tmp_path / "data"}
        chosen |= {"PYTHON": tmp_path / "stub", "CALLS": tmp_path / "calls"} | settings
        environment = {name: str(value) for name, value in chosen.items()}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [shell, str(scripts / f"{name}.sh"), *more]
        return subprocess.Popen(command, env=environment, cwd=tmp_path, preexec_fn=hear_hang_ups, **pipes)

    return begin


def calls(tmp_path: Path, of: str) -> list[tuple[str, list[str]]]:
    """GPU and arguments of every call of a module or file, in the order of their chunks."""
    lines = [line.split("\x1f")[:-1] for line in (tmp_path / "calls").read_text().splitlines()]
    found = [
        (gpu, arguments)
        for gpu, *arguments in lines
        if any(of in word for word in arguments[:2]) and "--check" not in arguments
    ]
    return sorted(found, key=lambda call: call[1][-1])


def value(arguments: list[str], flag: str) -> str:
    """What follows a flag."""
    return arguments[arguments.index(flag) + 1]


def gone(pids: list[int]) -> bool:
    """Whether processes end within five seconds."""
    for _ in range(100):
        left = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        if not any("\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text() for pid in left):
            return True
        time.sleep(0.05)
    return False
