"""Options that the scorers and converters share."""

from pathlib import Path

from llava.errors import InputError, shown
from llava.eval.runs.command import Parser


def add_answers_options(parser: Parser, fate: str = "left out of the score", result: str = "answers file") -> None:
    """What is scored or converted, and how strictly.

    Args:
        fate: what becomes of questions without answer where they are allowed.
        result: what the result file may be.
    """
    parser.add_argument("--result-file", required=True, help=result)
    add_missing_option(parser, fate)
    add_check_option(parser)


def add_missing_option(parser: Parser, fate: str) -> None:
    """Whether questions may be without answer."""
    parser.add_argument("--allow-missing", action="store_true", help=f"questions without answer are said and {fate}")


def add_check_option(parser: Parser) -> None:
    """Look at everything but the answers, which a script does before it spends hours on them."""
    parser.add_argument("--check", action="store_true", help="read all but the answers, complain as usual, and end")


def add_upload_options(parser: Parser, annotations: str) -> None:
    """LLaVA's three files of a converter for a server."""
    parser.add_argument("--annotation-file", required=True, help=annotations)
    parser.add_argument("--result-upload-file", required=True, help="written; its folder is made")
    add_answers_options(parser, fate="left out of the file")


def check_inside(name: str, flag: str) -> None:
    """Refuse a name that becomes part of a path and would lead out of its folder."""
    if Path(name).is_absolute() or ".." in Path(name).parts or not name.isprintable() or not Path(name).name:
        raise InputError(f"{flag} must name something in the benchmark's folder: got {shown(name)}; leave out '..'")
