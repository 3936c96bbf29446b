"""`--preprocessing`: pictures as transformers cuts them for a llava-hf checkpoint, or as LLaVA does."""

import argparse
import sys
from typing import Any

from llava.eval.runs.command import Parser
from llava.model.checkpoint.config import read_stored_config
from llava.model.checkpoint.folder import Folder
from llava.model.checkpoint.hf_layout import llavas_own

CHECKPOINT, LLAVA = "checkpoint", "llava"


def add_preprocessing(parser: Parser) -> None:
    """The option; it changes nothing where both ways are one."""
    about = "how pictures are cut for a checkpoint in transformers' layout: as its files say, or as LLaVA does"
    parser.add_argument("--preprocessing", choices=(CHECKPOINT, LLAVA), default=CHECKPOINT, help=about)


def picture_changes(args: argparse.Namespace) -> dict[str, Any]:
    """What the option puts in the place of the checkpoint's own settings."""
    if getattr(args, "preprocessing", CHECKPOINT) != LLAVA:
        return {}
    folder = Folder(str(args.model_path))
    return llavas_own(folder, read_stored_config(folder))[0]


def tell_difference(args: argparse.Namespace) -> None:
    """One line on stderr where pictures are cut otherwise than LLaVA cuts them."""
    folder = Folder(str(args.model_path))
    changes, words = llavas_own(folder, read_stored_config(folder))
    if changes and getattr(args, "preprocessing", CHECKPOINT) != LLAVA:
        print(f"pictures as transformers cuts them: {words}; --preprocessing {LLAVA} does as LLaVA", file=sys.stderr)
