"""Command-line options of questions about videos."""

import argparse
from typing import Any

from llava.eval.runs.command import Parser, at_least
from llava.eval.runs.preprocessing import picture_changes

MOST_FRAMES = 2**16
NEWLINES = ("one_token", "no_token", "frame", "grid")


def add_frame_options(parser: Parser) -> None:
    """What is looked at of a video."""
    frames = "frames of a video that are looked at: evenly spaced, the first and the last among them"
    parser.add_argument("--num-frames", type=at_least(1, MOST_FRAMES), default=8, metavar="N", help=frames)
    newline = (
        "where a video has newline tokens: after all of it, nowhere (LLaVA-NeXT's video_demo), after each frame, or "
        "after each row; unset: as the checkpoint says"
    )
    parser.add_argument("--mm-newline-position", choices=NEWLINES, help=newline)


def config_changes(args: argparse.Namespace) -> dict[str, Any]:
    """What these options put in the place of a checkpoint's own settings."""
    position = getattr(args, "mm_newline_position", None)
    return picture_changes(args) | ({} if position is None else {"mm_newline_position": position})


def change_config(config: Any, args: argparse.Namespace) -> None:
    """Put `config_changes` into a configuration that has been read."""
    for name, value in config_changes(args).items():
        setattr(config, name, value)
