"""Answer a JSON Lines file of questions about images or videos (GQA, VQAv2, VizWiz, TextVQA, POPE, MME, SEED, MSVD-QA).

    python -m llava.eval.model_vqa_loader --model-path CHECKPOINT --question-file QUESTIONS.jsonl \\
        --image-folder IMAGES --answers-file ANSWERS.jsonl --temperature 0 --conv-mode vicuna_v1 --retain 32

A question line has `question_id`, `text`, and `image` or `video`. Options are LLaVA's; see --help.
"""

import os
import sys
from typing import Any

from llava.errors import InputError, shown
from llava.eval.files import check_question_ids, read_jsonl
from llava.eval.runs.command import Parser, run
from llava.eval.runs.options import conversation_from
from llava.eval.runs.questions import FileImage, FileVideo, Question
from llava.eval.runs.runner import add_runner_options, run_questions
from llava.eval.runs.video_options import add_frame_options

FRAMES = 8


def read_questions(
    path: str, image_folder: str, video_folder: str | None = None, frames: int = FRAMES
) -> list[Question]:
    """LLaVA's question file; every line has a picture or a video.

    Ids may repeat (MME, TextVQA); a whole question that does is answered again, and said on stderr.

    Args:
        video_folder: what the names of videos are relative to; None: the folder of images.
        frames: of each video that are looked at.

    Raises:
        InputError: as `read_jsonl`, and for an id that no scorer would take.
    """
    lines = read_jsonl(path, ("question_id", "text"), "a question file", ("text",))
    seen = [_seen_in(record, where) for where, record in lines]
    check_question_ids(lines)
    _tell_repeated(
        [(where, (str(record["question_id"]), *what, record["text"])) for (where, record), what in zip(lines, seen)]
    )
    folders = {"image": image_folder, "video": image_folder if video_folder is None else video_folder}
    return [
        Question(
            where=where,
            message=record["text"],
            image=_opened(kind, os.path.join(folders[kind], name), where, frames),
            head={"question_id": record["question_id"], "prompt": record["text"]},
        )
        for (where, record), (kind, name) in zip(lines, seen)
    ]


def _opened(kind: str, path: str, where: str, frames: int) -> FileImage | FileVideo:
    return FileVideo(path, where, frames) if kind == "video" else FileImage(path, where)


def _seen_in(record: dict[str, Any], where: str) -> tuple[str, str]:
    """Whether a line names an image or a video, and which."""
    kinds = [kind for kind in ("image", "video") if kind in record]
    if not kinds:
        raise InputError(
            f"a line of a question file needs question_id, image (or video), text: {where} lacks image; add it"
        )
    if len(kinds) == 2:
        raise InputError(f"a line of a question file is about an image or a video: {where} has both; leave one out")
    name = record[kinds[0]]
    if not isinstance(name, str):
        raise InputError(f"{kinds[0]} in a question file is text: {where} has {shown(name)}; mend it")
    return kinds[0], name


def _tell_repeated(asked: list[tuple[str, tuple[str, ...]]]) -> None:
    """Say on stderr how many lines ask what an earlier one has asked."""
    first: dict[tuple[str, ...], str] = {}
    repeated = [(where, before) for where, question in asked if (before := first.setdefault(question, where)) != where]
    if repeated:
        where, before = repeated[0]
        print(f"WARNING: {len(repeated)} questions come twice, the first: {where} is that of {before}", file=sys.stderr)


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.model_vqa_loader", description=(__doc__ or "").split("\n")[0])
    add_runner_options(parser, "tables/question.jsonl")
    parser.add_argument("--video-folder", help="what the questions' video names are relative to; unset: --image-folder")
    add_frame_options(parser)
    args = parser.parse_args()
    conv_mode = conversation_from(args, tag_plain_models=True)
    questions = read_questions(args.question_file, args.image_folder, args.video_folder, args.num_frames)
    own = {"video_folder": args.video_folder, "num_frames": args.num_frames}
    own["mm_newline_position"] = args.mm_newline_position
    videos = any(question.modality == "video" for question in questions)
    run_questions(args, questions, conv_mode, **(own if videos else {}))


if __name__ == "__main__":
    run(main)
