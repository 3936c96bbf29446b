"""An OpenAI-compatible server: pictures and questions in, answers out, for many at once.

    python -m llava.serve.server --model-path CHECKPOINT --retain 64 --port 8000

Requests join a running batch between two tokens; a picture is encoded once, whoever asks about it. SIGTERM and Ctrl-C
let running answers end and refuse new ones.
"""

import argparse
import asyncio
import gc
import os
import sys
from typing import TYPE_CHECKING, Any

from llava.errors import InputError
from llava.eval.runs.command import Parser, at_least, run
from llava.eval.runs.conv_mode import add_conv_mode
from llava.eval.runs.loading import TRAINED, Loaded, check_trained, load_model
from llava.eval.runs.memory import free_bytes
from llava.eval.runs.method_options import add_method_options, method_from
from llava.eval.runs.options import add_model_options, device_from
from llava.files.public_addresses import fetch_public_picture
from llava.mm_utils import get_model_name_from_path
from llava.reduction import name_of
from llava.serve.conv_mode import conv_mode_of

if TYPE_CHECKING:
    from llava.serve.api.app import Settings

# Seconds for which Python runs one thread while another waits. HTTP is handled while the model computes: with Python's
# own 5 ms a step would wait that long between any two of its operations.
SWITCH = 0.0002


def build_parser(kind: type[Parser] = Parser) -> Parser:
    """The command's options. `kind`: what parses them."""
    parser = kind(prog="python -m llava.serve.server", description=(__doc__ or "").split("\n")[0])
    add_model_options(parser)
    parser.set_defaults(model_path=TRAINED)
    add_conv_mode(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for everybody")
    parser.add_argument("--port", type=at_least(0, 65535), default=8000, help="port; 0: any free one")
    parser.add_argument("--served-model-name", help="how clients name the model; unset: the checkpoint's name")
    key = "key that clients must send; may be repeated; besides those in VISIONDROP_API_KEYS, commas between"
    parser.add_argument("--api-key", action="append", default=[], help=key)
    parser.add_argument("--max-rows", type=at_least(1), default=64, help="answers made at once")
    parser.add_argument("--max-waiting", type=at_least(1), default=256, help="requests in the queue; more are refused")
    parser.add_argument("--fetch", action="store_true", help="fetch pictures that requests name by https: addresses")
    parser.add_argument("--max-body", type=at_least(1), default=32, metavar="MIB", help="size of a request")
    parser.add_argument(
        "--body-timeout", type=at_least(1), default=60, metavar="S", help="for a header, and for a body, to arrive"
    )
    unread = "for a client that takes nothing of its answer, which is then let go"
    parser.add_argument("--send-timeout", type=at_least(1), default=60, metavar="S", help=unread)
    parser.add_argument("--max-new-tokens", type=at_least(1), default=512, help="of an answer that names no limit")
    store = "MiB of the device for images' shared work; unset: a quarter of what is free"
    parser.add_argument("--prefix-memory", type=at_least(0), metavar="MIB", help=store)
    parser.add_argument("--seed", type=int, default=0, help="of the method random")
    add_method_options(parser)
    return parser


def prepare(args: argparse.Namespace) -> tuple[Loaded, "Settings", int]:
    """The model, how its server behaves, and the bytes for image prefixes, as the options say.

    Raises:
        InputError: for a checkpoint, a device or a conversation template that is not there.
    """
    from llava.serve.api.app import Settings

    check_trained(args.model_path)
    device_from(args)
    args.conv_mode = conv_mode_of(args)
    choice = method_from(args)
    loaded = load_model(args)
    reduction = choice.build(loaded.model.geometry)
    print(loaded.about(args, reduction), file=sys.stderr)
    free = free_bytes(loaded.model.device)
    prefix_bytes = free // 4 if args.prefix_memory is None else args.prefix_memory * 2**20
    keys = [*args.api_key, *filter(None, os.environ.get("VISIONDROP_API_KEYS", "").split(","))]
    name = args.served_model_name or get_model_name_from_path(args.model_path)
    settings = Settings(
        name, args.conv_mode, reduction, tuple(keys), args.max_body * 2**20, args.body_timeout, args.max_waiting,
        args.max_new_tokens, fetch_public_picture if args.fetch else None,
    )  # fmt: skip
    return loaded, settings, prefix_bytes


def serve(args: argparse.Namespace) -> None:
    """Load the model and answer until told to stop."""
    try:
        import uvicorn

        from llava.serve.api.app import build_app
        from llava.serve.api.connections import patient_for
    except ImportError as error:
        raise InputError(
            f"the server needs {error.name}, which is not installed; pip install 'visiondrop[serve]'"
        ) from None
    from llava.serve.engine.engine import Engine

    loaded, settings, prefix_bytes = prepare(args)
    sys.setswitchinterval(SWITCH)
    gc.collect()
    gc.freeze()  # what is here now stays: looking through it for garbage would stop everybody for a fifth of a second

    class Server(uvicorn.Server):
        """Ends in two steps: new requests are refused at once, the listener goes when the running ones have ended."""

        def handle_exit(self, sig: int, frame: Any) -> None:
            """SIGINT or SIGTERM; the second time at once."""
            if settings.draining:
                super().handle_exit(sig, frame)
            settings.draining = True

        async def on_tick(self, counter: int) -> bool:
            """Ten times a second."""
            if settings.draining and not engine.running and not engine.waiting:
                self.should_exit = True
            return await super().on_tick(counter)

    with Engine(loaded, prefix_bytes, args.max_rows) as engine:
        app = build_app(loaded, engine, settings)
        patient = patient_for(args.body_timeout, args.send_timeout)
        config = uvicorn.Config(app, args.host, args.port, http=patient, log_level="warning", timeout_keep_alive=30)
        server = Server(config)
        method = name_of(settings.reduction)
        print(f"{settings.name} on http://{args.host}:{args.port}/v1, {method}; Ctrl-C ends it", flush=True)
        asyncio.run(server.serve())


def main() -> None:
    """The command."""
    serve(build_parser().parse_args())


if __name__ == "__main__":
    run(main)
