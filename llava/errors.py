"""The one error that a user can cause: commands turn it into a single line and exit code 2."""

LONGEST_LINE = 1000


class InputError(ValueError):
    """Something a user gave is refused; the message names the rule, what came, what was expected and the remedy."""


def shown(value: object, longest: int = 100) -> str:
    """A value from a file or a command line as an error names it: as Python writes it, its middle left out if long."""
    if isinstance(value, str) and len(value) > 4 * longest:
        value = value[: 2 * longest] + value[-2 * longest :]  # no need to write all of it down
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of over 4300 digits, lists in lists without end
        text = f"a {type(value).__name__} too large to show"
    return _shortened(text, longest)


def one_line(error: object) -> str:
    """A message as one line for a terminal: no line breaks, no control characters, no more than 1,000 characters."""
    text = " ".join(str(error).split())
    return _shortened("".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text), LONGEST_LINE)


def _shortened(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    half = (longest - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"
