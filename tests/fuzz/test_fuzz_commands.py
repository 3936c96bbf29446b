"""Commands on damaged files end in success or in one line and exit code 2, never in a traceback.

`FUZZ=100000` runs so many inputs over all scenes (`make fuzz`, some minutes); without it there are a few of each.
"""

import contextlib
import io
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from mutations import variants
from scene import Scene
from scenes import SCENES

from llava.eval.runs.command import run

INPUTS = int(os.environ.get("FUZZ", "1000"))


def outcome(scene: Scene) -> tuple[object, str]:
    """The exit code of a scene's command and what it said on stderr."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        patch.setattr("sys.argv", ["command", *scene.arguments])
        try:
            run(scene.command)
        except SystemExit as stopped:
            return stopped.code or 0, said.getvalue()
    return 0, said.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENES)
def test_damaged_files_are_read_or_refused_in_one_line(
    tmp_path: Path, name: str, recwarn: pytest.WarningsRecorder
) -> None:
    scene = SCENES[name](tmp_path)
    code, said = outcome(scene)
    good_code = 1 if name == "prepare" else 0  # 1: not all benchmarks are there
    assert code == good_code, f"the files must be good before they are damaged: {said}"
    random, refused = Random(zlib.crc32(name.encode())), 0
    share = -(-INPUTS // len(SCENES) // len(scene.files))
    for path in scene.files:
        good = path.read_bytes()
        for number, content in enumerate(variants(random, good, share)):
            path.write_bytes(content)
            try:
                code, said = outcome(scene)
            except Exception as error:
                pytest.fail(f"{path.name}, variant {number}: {type(error).__name__}: {error}\n{content[:2000]!r}")
            refused += code == 2
            assert code in (good_code, 2), (path.name, number, code, said)
            assert code != 2 or said.rstrip().split("\n")[-1].startswith("error: "), (path.name, number, said)
        path.write_bytes(good)
    assert refused > 0 or INPUTS < 1000, "damage that nothing notices is no damage"


def test_the_fuzzer_sees_a_traceback(tmp_path: Path) -> None:
    """The check can fail: a command that breaks on a damaged file is found."""

    def fragile() -> Callable[[], None]:
        return lambda: int(path.read_text()) and None  # type: ignore[func-returns-value]

    path = tmp_path / "number.txt"
    path.write_text("x")
    with pytest.raises(ValueError, match="invalid literal"):
        outcome(Scene([path], fragile(), []))
