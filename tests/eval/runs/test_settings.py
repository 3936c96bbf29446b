"""Content decides whether a run may go on, not how a person spells a path."""

import json
import os
import shutil
from pathlib import Path

import pytest
from commands import TINY, call, loader_flags, questions, records, texts
from conftest import PARITY

from llava.errors import InputError
from llava.eval.runs import identity, llava_run
from llava.eval.runs.identity import checkpoint_digest, pictures_digests
from llava.eval.runs.questions import FileImage, Question
from llava.eval.runs.settings import as_written, difference, read_settings, write_settings

NEW_KEYS = ("checkpoint_sha256", "base_sha256", "pictures_sha256")


@pytest.fixture
def half_done(tmp_path: Path, capsys: pytest.CaptureFixture) -> Path:
    """An answers file with two of four answers, of a checkpoint and pictures that may be changed."""
    questions(tmp_path)
    shutil.copytree(TINY, tmp_path / "llava-tiny-12l")
    shutil.copytree(PARITY / "images", tmp_path / "images")
    assert call("model_vqa_loader", capsys, *flags(tmp_path)).code == 0
    path = tmp_path / "answers/a.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    return path


def flags(folder: Path, *more: object) -> list[object]:
    """The loader on that checkpoint and those pictures."""
    return loader_flags(folder, "--image-folder", folder / "images", *more, model=folder / "llava-tiny-12l")


def test_another_spelling_goes_on(
    half_done: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mount").symlink_to(tmp_path)
    written = json.loads(Path(f"{half_done}.settings.json").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(llava_run, "load_model", lambda *_, **__: (_ for _ in ()).throw(InputError("let in")))
    for root in (Path("."), tmp_path / "mount", Path("mount/mount")):
        for slash in ("", "/"):
            given = flags(
                root, "--model-path", f"{root}/llava-tiny-12l{slash}", "--image-folder", f"{root}/images{slash}"
            )
            assert call("model_vqa_loader", capsys, *given).err == "error: let in"
    shutil.copytree("llava-tiny-12l", "copied")
    assert call("model_vqa_loader", capsys, *flags(tmp_path, "--model-path", "copied")).err == "error: let in"
    assert json.loads(Path(f"{half_done}.settings.json").read_text()) == written


@pytest.mark.parametrize("change", ["weights", "config.json", "tower", "pictures"])
def test_changed_content_is_refused(
    half_done: Path, tmp_path: Path, capsys: pytest.CaptureFixture, change: str
) -> None:
    before = half_done.read_bytes()
    if change == "pictures":
        shutil.copy(tmp_path / "images/0.png", tmp_path / "images/1.png")
    else:
        weights = next((tmp_path / "llava-tiny-12l").glob("*.safetensors"))
        tower = next((tmp_path / "llava-tiny-12l/vision_tower").glob("*.safetensors"))
        path = {"weights": weights, "tower": tower}.get(change, tmp_path / "llava-tiny-12l/config.json")
        content = bytearray(path.read_bytes())
        content[-2] ^= 1 if change != "config.json" else 0
        path.write_bytes(bytes(content) + (b"\n" if change == "config.json" else b""))
    done = call("model_vqa_loader", capsys, *flags(tmp_path))
    name = "pictures_sha256" if change == "pictures" else "checkpoint_sha256"
    assert done.code == 2 and f"has {name} = " in done.err and half_done.read_bytes() == before


def test_a_run_from_before_there_were_digests_goes_on(
    half_done: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = Path(f"{half_done}.settings.json")
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in settings.items() if name not in NEW_KEYS}, indent=2))
    assert call("model_vqa_loader", capsys, *flags(tmp_path)).code == 0 and len(texts(half_done)) == 4
    # The first run had counted all four, of which two were cut off by hand: only what is sure is said.
    assert settings["questions_counted"] == 4
    assert json.loads(path.read_text()) == settings | {"questions_counted": 2}


def test_old_settings_are_compared_by_where_paths_lead() -> None:
    old = {"model_path": "/m/llava", "model_base": None, "question_file": "/q.jsonl", "question_file_sha256": "1"}
    new = old | {"checkpoint_sha256": "2", "base_sha256": None, "image_folder": "/here", "pictures_sha256": ["3"]}
    assert difference(old, new) is None
    assert difference(old, new | {"model_path": "/m//llava/"}) is None
    assert difference(old, new | {"model_path": "/m/other"}) == "model_path"
    assert difference(old, new | {"model_base": "/m/base"}) == "model_base"
    assert difference(old, new | {"question_file": "q.jsonl"}) is None
    assert difference(old, new | {"question_file_sha256": "2"}) == "question_file_sha256"
    assert difference(new, new | {"model_path": "/m/other", "image_folder": "/there", "skipped": [1]}) is None
    assert difference(new, new | {"checkpoint_sha256": "3"}) == "checkpoint_sha256"
    assert difference(new, new | {"pictures_sha256": [None]}) is None
    assert difference(new, new | {"pictures_sha256": ["4"]}) == "pictures_sha256"
    assert difference(
        new, {name: value for name, value in new.items() if name != "question_file"} | {"method": "x"}
    ) == ("method")


def test_names_that_are_no_utf8_can_be_read_again(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff"))
    folder.mkdir()
    questions(folder)
    given = loader_flags(folder)
    assert call("model_vqa_loader", capsys, *given).code == 0
    path = folder / "answers/a.jsonl"
    path.write_bytes(path.read_bytes()[:100])
    assert call("model_vqa_loader", capsys, *given).code == 0 and len(records(path)) == 4


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "must be JSON"),
        ("[]", "is a JSON array"),
        ("{}", "must hold method"),
        ('{"method": 3}', "has 3"),
        ('{"method": "none", "answers": true}', "has True"),
        ('{"method": "none", "answers": "4"}', "has '4'"),
    ],
)
def test_settings_that_do_not_fit_name_the_remedy(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "a.jsonl"
    Path(f"{path}.settings.json").write_text(content)
    with pytest.raises(InputError) as caught:
        read_settings(path, "method", "answers")
    assert says in str(caught.value) and str(caught.value).endswith("run its answers again with --overwrite")


def test_settings_come_back_as_they_were(tmp_path: Path) -> None:
    settings = as_written({"method": "none", "lists": ([1, 2],), "path": "b\udcff", "number": 1.5})
    assert settings == {"method": "none", "lists": [[1, 2]], "path": "b\\xff", "number": 1.5}
    write_settings(tmp_path / "a", settings)
    assert read_settings(tmp_path / "a") == settings


def test_a_large_file_is_looked_at_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(identity, "PIECE_BYTES", 10)
    content = bytes(range(256)) * 40
    (tmp_path / "model.safetensors").write_bytes(content)
    found = checkpoint_digest(str(tmp_path))
    for at in (0, 5, len(content) - 1):
        (tmp_path / "model.safetensors").write_bytes(content[:at] + b"\x99" + content[at + 1 :])
        assert checkpoint_digest(str(tmp_path)) != found
    (tmp_path / "model.safetensors").write_bytes(bytes(reversed(content)))
    assert checkpoint_digest(str(tmp_path)) != found


def test_what_belongs_to_training_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    found = checkpoint_digest(str(tmp_path))
    for name in ("README.md", "optimizer.bin", "training_args.bin", "trainer_state.json", ".DS_Store", "._config.json"):
        (tmp_path / name).write_text(name)
    (tmp_path / "global_step100").mkdir()
    assert checkpoint_digest(str(tmp_path)) == found == checkpoint_digest(f"{tmp_path}/", None)
    (tmp_path / "tokenizer.model").write_text("")
    assert checkpoint_digest(str(tmp_path)) != found


def test_pictures_are_sampled_evenly(tmp_path: Path) -> None:
    for number in range(20):
        shutil.copy(PARITY / f"images/{number % 4}.png", tmp_path / f"{number}.png")
    asked = [Question("", "", FileImage(str(tmp_path / f"{at}.png"), ""), {}) for at in range(20)]
    found = pictures_digests(asked)
    assert len(found) == 7 and None not in found
    (tmp_path / "18.png").write_bytes(b"")
    assert pictures_digests(asked) == [*found[:-1], None]
    assert pictures_digests([]) == [] == pictures_digests([Question("", "", None, {})])
