"""Asking OpenAI's moderation service about a text: the one place from which text leaves this machine."""

import json
import logging
import os
import urllib.request

from llava.errors import InputError, one_line

ADDRESS = "https://api.openai.com/v1/moderations"
SECONDS = 5


def violates_moderation(text: str) -> bool:
    """Whether OpenAI's moderation service flags a text. The text is sent there, with the key in OPENAI_API_KEY.

    As in LLaVA a service that is out of reach flags nothing; here a warning is logged then, since the text was not
    looked at.

    Raises:
        InputError: OPENAI_API_KEY is not set; nothing is sent.
    """
    key = os.environ.get("OPENAI_API_KEY")
    if not key:
        raise InputError(
            "moderation needs OpenAI's service: the environment has no OPENAI_API_KEY and nothing was sent; set it, or "
            "switch moderation off"
        )
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    body = json.dumps({"input": text.replace("\n", "")}).encode()
    try:
        request = urllib.request.Request(ADDRESS, body, headers)
        with urllib.request.urlopen(request, timeout=SECONDS) as response:
            return bool(json.load(response)["results"][0]["flagged"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        logging.getLogger(__name__).warning("a text was not moderated: %s", one_line(error))
        return False
