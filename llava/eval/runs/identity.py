"""Whether a checkpoint and pictures are still those that a run began with: digests of content, cheap enough for 7B."""

import hashlib
import os
from pathlib import Path

from transformers.utils import cached_file

from llava.errors import InputError
from llava.eval.runs.questions import FileImage, FileVideo, Question
from llava.files.reading import file_digest, reason
from llava.files.videos import frame_files

# Files of a checkpoint that answers depend on; not those of its training, nor its description.
ENDINGS = (".safetensors", ".bin", ".model", ".json", ".txt")
OF_TRAINING = ("training_args.bin", "optimizer.bin", "scheduler.bin", "trainer_state.json")
# A file up to this size is read whole; of a larger one, this many pieces from its first byte to its last.
WHOLE_BYTES = 64 * 2**20
PIECES = 64
PIECE_BYTES = 2**20
PICTURES = 8


def checkpoint_digest(*places: str | None) -> str:
    """SHA-256 over the files of a checkpoint and of what belongs to it (its vision tower), whatever their paths.

    A change of weights is seen: training changes all of a file. One that leaves every 80th part of a large file as it
    is could pass. Of a hub id it is the revision in the local cache.

    Args:
        places: folders or hub ids; None is passed over.
    """
    total = hashlib.sha256()
    for place in places:
        if place is None:
            continue
        if not os.path.isdir(place):
            total.update(f"{place}@{_revision(place)}\n".encode("utf-8", "surrogateescape"))
            continue
        for path in sorted(Path(place).iterdir()):
            if path.suffix in ENDINGS and path.name not in OF_TRAINING and path.name[0] != "." and path.is_file():
                total.update(f"{path.name} {_sampled_digest(path)}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def pictures_digests(questions: list[Question]) -> list[str | None]:
    """SHA-256 of a few pictures or videos, evenly spread over the questions; None for one that cannot be read.

    Another folder with the same names in it is seen by this; a picture that is mended later is not taken for a change.
    """
    images = [question.image for question in questions if isinstance(question.image, FileImage | FileVideo)]
    step = max(1, -(-len(images) // PICTURES))
    chosen = images[::step]
    known = {(type(image), image.identity): image for image in chosen}  # several questions may be about one
    digests = {key: _picture_digest(image) for key, image in known.items()}
    return [digests[type(image), image.identity] for image in chosen]


def _picture_digest(image: FileImage | FileVideo) -> str | None:
    try:
        image.read()
        if isinstance(image, FileVideo):
            return _video_digest(Path(image.identity))
        return file_digest(image.identity, "an image")
    except InputError:
        return None


def _video_digest(path: Path) -> str:
    """Of a film its (sampled) content, of a folder the names of its frames and their (sampled) content."""
    if not path.is_dir():
        return _sampled_digest(path)
    total = hashlib.sha256()
    for frame in frame_files(path):
        total.update(f"{frame.name} {_sampled_digest(frame)}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def _sampled_digest(path: Path) -> str:
    """SHA-256 of a file's size and content, or of pieces of it where it is large."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.sha256(str(size).encode())
            if size <= WHOLE_BYTES:
                digest.update(file.read())
            else:
                for piece in range(PIECES):
                    file.seek((size - PIECE_BYTES) * piece // (PIECES - 1))
                    digest.update(file.read(PIECE_BYTES))
    except OSError as error:
        raise InputError(f"a checkpoint's files must be readable: '{path}' is not ({reason(error)})") from None
    return digest.hexdigest()


def _revision(name: str) -> str:
    """The commit of a hub's repository in the local cache; empty where there is none."""
    try:
        path = cached_file(name, "config.json", _raise_exceptions_for_missing_entries=False)
    except (OSError, ValueError):
        path = None
    return Path(path).parent.name if path else ""
