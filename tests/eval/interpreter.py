"""A Python for the scripts' tests that starts at once: a process with torch imported, forked for every command.

`python interpreter.py serve SOCKET` is that process. `write_client` makes the executable that stands for `python`: it
hands its arguments, folder, environment and three streams to the process and ends with the exit code that comes back.
What runs is what would run otherwise, each command in a process of its own.
"""

import contextlib
import importlib
import json
import os
import runpy
import signal
import socket
import struct
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

PRELOADED = ["pandas", "openpyxl", "llava.eval.model_vqa_mmbench", "llava.eval.model_vqa_science"]

CLIENT = """import json, os, socket, struct, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({socket!r})
    order = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [struct.pack("!I", len(order))], [0, 1, 2])
    server.sendall(order)
    sys.exit(int(server.recv(16) or b"70"))
"""


def write_client(folder: Path, socket_path: str) -> Path:
    """The executable `folder/python`; a shell script, because a long path cannot follow `#!`."""
    code, path = folder / "client.py", folder / "python"
    code.write_text(CLIENT.format(socket=socket_path))
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{code}" "$@"\n')
    path.chmod(0o755)
    return path


def read_order(connection: socket.socket) -> tuple[list[str], str, dict[str, str]]:
    """What a client asks for; its streams become this process's."""
    head, streams, _, _ = socket.recv_fds(connection, 4, 3)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    order = b""
    while len(order) < struct.unpack("!I", head)[0]:
        order += connection.recv(65536)
    return json.loads(order)


def execute(arguments: list[str], folder: str, environment: dict[str, str]) -> int:
    """Run a command as `python` would; its exit code."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    try:
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as stopped:
        return stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def serve(path: str) -> None:
    """Fork a process for every client, for ever."""
    for name in PRELOADED:
        importlib.import_module(name)
    importlib.import_module("torch").set_num_threads(1)
    for name in PRELOADED[2:]:
        del sys.modules[name]  # runpy warns of modules that it is to run and finds imported
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            connection, _ = server.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                code = execute(*read_order(connection))
                sys.stdout.flush()
                connection.sendall(str(code).encode())
                os._exit(0)
            connection.close()


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Path]:
    """The client's path while the server runs."""
    path = str(folder / "socket")
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "serve", path]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None and server.stdout.readline() == "ready\n"
            yield write_client(folder, path)
        finally:
            server.terminate()


if __name__ == "__main__":
    serve(sys.argv[2])
