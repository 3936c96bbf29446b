"""The server's settings in a configuration file of Ray Serve: its flags without their dashes."""

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from llava.errors import InputError, shown
from llava.eval.runs.command import Parser
from llava.serve.server import build_parser

RAYS_OWN = ("host", "port", "send-timeout", "help")  # Ray's proxy listens and sends


class _Refusing(Parser):
    """Raises where a command's parser leaves: Ray shows the message of an error."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"args of the application: {message}; they are the flags of llava.serve.server")


def parse(flags: Sequence[str]) -> argparse.Namespace:
    """The server's options.

    Raises:
        InputError: for flags and values that it does not take.
    """
    return build_parser(_Refusing).parse_args(flags)


def flags_of(args: Mapping[str, Any]) -> list[str]:
    """Settings as the server's flags.

    Example: {"retain": 64, "layer_list": [8, 16], "fetch": true} -> --retain 64 --layer_list [8,16] --fetch.
    """
    flags: list[str] = []
    for name, value in args.items():
        if not isinstance(name, str) or name.startswith("-") or name in RAYS_OWN:
            raise InputError(
                f"args must be named as the flags of llava.serve.server without their dashes, and not host, port or "
                f"send-timeout, which are Ray's http_options: got {shown(name)}; write it like model-path"
            )
        if value is True:
            flags.append(f"--{name}")
        elif value is not None and value is not False:
            for each in value if name == "api-key" and isinstance(value, list) else [value]:
                text = each if isinstance(each, str) else json.dumps(each, separators=(",", ":"))
                flags.append(f"--{name}={text}")
    return flags
