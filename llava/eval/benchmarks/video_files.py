"""Which file in a folder of videos a question is about, and the question file that a runner takes."""

import json
from collections.abc import Iterable
from pathlib import Path

from llava.errors import InputError
from llava.eval.benchmarks.answers import named, warn
from llava.eval.benchmarks.videoqa import VideoQuestion
from llava.files.reading import files_in

ENDINGS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".gif", ".mpg", ".mpeg", ".m4v", ".flv", ".wmv", ".webp")


def question_lines(questions: Iterable[VideoQuestion], folder: str, suffix: str, allow_missing: bool = False) -> str:
    """The question file, JSON Lines with `question_id`, `video` and `text`, in the order of the questions.

    Args:
        folder: of the videos; a folder in it is a video too, of frames.
        suffix: the instruction after each question, on a line of its own; empty: none.
        allow_missing: leave out questions whose videos are not there, and say so.

    Raises:
        InputError: for videos that are not there, naming the first, and for two files of one name.
    """
    files = video_names(folder)
    lines, missing = [], []
    for question in questions:
        video = next((files[name] for name in question.videos if name in files), None)
        if video is None:
            missing.append(question.videos[0])
            continue
        text = f"{question.question}\n{suffix}" if suffix else question.question
        lines.append({"question_id": question.written_id, "video": video, "text": text})
    absent = list(dict.fromkeys(missing))
    if absent and (not allow_missing or not lines):
        raise InputError(
            f"every question's video must be in the folder: '{folder}' lacks {len(absent)} ({named(absent)}); fetch "
            f"them, or give --allow-missing"
        )
    warn(f"videos are not there; their {len(missing)} questions are left out", absent)
    return "".join(json.dumps(line) + "\n" for line in lines)


def video_names(folder: str) -> dict[str, str]:
    """The videos of a folder, files and folders of frames, by their names without ending."""
    names: dict[str, str] = {}
    for path in files_in(folder):
        if path.is_dir() or path.suffix.lower() in ENDINGS:
            stem = path.name if path.is_dir() else path.name[: -len(path.suffix)]
            if stem in names:
                raise InputError(
                    f"a video has one file: '{folder}' has {names[stem]} and {path.name}; keep one of them elsewhere"
                )
            names[stem] = path.name
    if not names:
        raise InputError(f"a folder of videos must hold some: '{Path(folder)}' has none; check the path")
    return names
