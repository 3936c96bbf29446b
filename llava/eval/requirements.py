"""What a command will need at its end, looked for at its beginning."""

import importlib.util

from llava.errors import InputError


def require(module: str, purpose: str, extra: str = "eval") -> None:
    """Refuse to begin what could not be finished, without importing anything.

    Args:
        module: a package that is optional.
        purpose: what needs it, as in "the picture".
        extra: of `pip install 'visiondrop[...]'`.

    Raises:
        InputError: where it is not installed.
    """
    if importlib.util.find_spec(module) is None:
        raise InputError(f"{purpose} needs {module}, which is not installed; pip install 'visiondrop[{extra}]'")
