"""The server on Ray Serve: replicas on many GPUs behind one address.

    serve run llava/serve/ray_app.yaml

A request goes to the replica that knows its picture, to another one where that is busy or gone. Settings of the server
are `args` in that file, spelt as the flags of `llava.serve.server`; replicas, GPUs and scaling are Ray's own settings.
"""

from collections.abc import Mapping
from typing import Any

from llava.errors import InputError
from llava.eval.runs.method_options import method_from

try:
    from ray import serve
    from ray.serve import Application
except ImportError as error:
    raise InputError(f"this needs {error.name}, which is not installed; pip install 'visiondrop[ray]'") from None

from llava.serve.ray.flags import flags_of, parse
from llava.serve.ray.front import Front
from llava.serve.ray.replica import Replica

ANSWER_SECONDS = 600.0
# Requests that Ray hands a replica at once; its engine decides how many of them run. What is more waits with the front.
ONGOING, QUEUED, AT_THE_FRONT = 320, 1024, 2048


def build(args: Mapping[str, Any]) -> Application:
    """The application that a configuration file's `import_path` names.

    Raises:
        InputError: for settings that `llava.serve.server` does not know or take.
    """
    flags = flags_of(args)
    read = parse(flags)
    method_from(read)  # refused here and not by every replica for itself
    replicas = serve.deployment(
        Replica, max_ongoing_requests=ONGOING, max_queued_requests=QUEUED, graceful_shutdown_timeout_s=60
    )
    front = serve.deployment(Front, max_ongoing_requests=AT_THE_FRONT, graceful_shutdown_timeout_s=60)
    return front.bind(replicas.bind(flags), read.max_body * 2**20, float(read.body_timeout), ANSWER_SECONDS)
