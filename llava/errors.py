"""The one error that a user can cause: commands turn it into a single line and exit code 2."""


class InputError(ValueError):
    """Something a user gave is refused; the message names the rule, what came, what was expected and the remedy."""
