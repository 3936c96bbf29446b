"""A page to ask about pictures, and to see what was kept of them and what that saved.

    python -m llava.serve.web --model-path CHECKPOINT --conv-mode vicuna_v1

Without --server it starts a server on this machine for itself; all flags that are not the page's own go to it, see
`python -m llava.serve.server --help`. Without --model-path it is the small model of the shapes that answers.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

from llava.errors import InputError
from llava.eval.runs.command import Parser, at_least, run
from llava.serve.page.remote import Server
from llava.serve.page.words import check_address
from llava.serve.starting import server_process

EXAMPLES = "playground/shapes/images"
MOST_UPLOAD = "24mb"  # in base64 it is the server's 32 MiB


def build_parser() -> Parser:
    """The page's own options."""
    parser = Parser(prog="python -m llava.serve.web", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--server", help="address of a running llava.serve.server; unset: one is started")
    parser.add_argument("--server-key", help="key it wants; unset: the first in VISIONDROP_API_KEYS")
    parser.add_argument("--page-host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for everybody")
    parser.add_argument("--page-port", type=at_least(1, 65535), default=7860, help="port of the page")
    parser.add_argument("--examples", default=EXAMPLES, help="folder of the pictures of shapes to try")
    return parser


@contextlib.contextmanager
def server_at(address: str | None, key: str, flags: list[str]) -> Iterator[Server]:
    """The server to ask: the one at `address`, or one of our own while the block runs.

    Raises:
        InputError: where there is none, and for flags beside an address.
    """
    if address is not None:
        if flags:
            raise InputError(f"beside --server no flag of a server of our own is taken: got {flags[0]}; leave it out")
        yield Server(check_address(address), key)
        return
    with server_process(flags) as url:
        yield Server(url, key)


def main() -> None:
    """The command."""
    args, flags = build_parser().parse_known_args()
    try:
        from llava.serve.page.layout import build_page
    except ImportError as error:
        raise InputError(
            f"the page needs {error.name}, which is not installed; pip install 'visiondrop[web]'"
        ) from None
    key = args.server_key or os.environ.get("VISIONDROP_API_KEYS", "").split(",")[0]
    ended = threading.Event()
    with server_at(args.server, key, flags) as server:
        model = server.model()
        page = build_page(server, model, args.examples)
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, lambda *_: ended.set())
        try:
            _, url, _ = page.launch(
                server_name=args.page_host, server_port=args.page_port, prevent_thread_lock=True, quiet=True,
                share=False, ssr_mode=False, show_error=True, max_file_size=MOST_UPLOAD, theme=theme(),
                footer_links=[],
            )  # fmt: skip
        except OSError as error:
            raise InputError(
                f"port {args.page_port} of {args.page_host} must be free: {error}; try --page-port"
            ) from error
        print(f"{model['id']} on {url}; Ctrl-C ends it", flush=True)
        ended.wait()
        page.close(verbose=False)


def theme() -> object:
    """Gradio's own, with the fonts of the machine: the page fetches nothing from elsewhere."""
    import gradio as gr

    return gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])


if __name__ == "__main__":
    run(main)
