"""What the page says and sends: requests as JSON, figures as Markdown. Nothing here knows of widgets."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llava.errors import InputError, shown
from llava.eval.runs.loading import TRAINED
from llava.eval.runs.reporting import in_flops
from llava.files.reading import read_bytes
from llava.serve.page.remote import Heard

SHIPPED = "It was trained here and knows coloured shapes on plain pictures only; to photographs it answers nonsense."
EXAMPLES = (
    ("00000.png", "Where is the white ring?"),
    ("00001.png", "What color is the cross?"),
    ("00002.png", "Where is the yellow square?"),
    ("00003.png", "How many red shapes are there?"),
)

Turn = tuple[str, str]  # a question and its answer


def about_model(name: str) -> str:
    """Which model answers, and what may be expected of it."""
    return f"Model: **{plain(name)}**. {SHIPPED if name == Path(TRAINED).name else ''}".strip()


def reduction_of(method: str, budget: float) -> str | dict[str, Any]:
    """The server's field `reduction`; `none` takes no budget."""
    return method if method == "none" else {"method": method, "retain": int(budget)}


def body_of(
    model: str,
    picture: str | None,
    question: str | None,
    method: str,
    budget: float,
    earlier: Sequence[Turn] = (),
) -> dict[str, Any]:
    """A chat request about a picture's file.

    Args:
        earlier: questions and answers before this one; the picture stands before the first question.

    Raises:
        InputError: where the picture or the question is missing.
    """
    if not picture:
        raise InputError("an answer needs a picture: there is none; drop one into the box, or choose an example")
    if not (question or "").strip():
        raise InputError("an answer needs a question: there is none; write one")
    content = base64.b64encode(read_bytes(picture, "a picture")).decode()
    shown = {"type": "image_url", "image_url": {"url": f"data:;base64,{content}"}}
    said = [text for turn in earlier for text in turn] + [question]
    messages: list[dict[str, Any]] = [
        {"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(said)
    ]
    messages[0]["content"] = [shown, {"type": "text", "text": messages[0]["content"]}]
    return {"model": model, "messages": messages, "temperature": 0, "reduction": reduction_of(method, budget)}


def transcript(earlier: Sequence[Turn]) -> str:
    """Earlier questions and answers as HTML; nothing where there are none."""
    turns = "".join(
        f'<dt style="font-weight: 600">{html.escape(question)}</dt><dd style="margin: 0 0 0.5em 1em">'
        f"{html.escape(answer) or '(nothing)'}</dd>"
        for question, answer in earlier
    )
    return f'<section aria-label="Earlier in this conversation"><dl>{turns}</dl></section>' if turns else ""


def figures(heard: Heard, kept: dict[str, Any]) -> str:
    """A Markdown list of what an answer cost.

    Args:
        kept: the server's answer at `/v1/kept`.
    """
    usage = heard.usage or {}
    details = usage.get("prompt_tokens_details") or {}
    less = kept["unreduced_flops"] / kept["prefill_flops"]
    saved = 100 * (1 - 1 / less)
    rows = {
        "image tokens": "; ".join(_stage(stage) for stage in kept["stages"]),
        "image tokens on average": f"{kept['average_tokens']:.1f} per LLM layer",
        "first token after": f"{1000 * (heard.first or heard.seconds):.0f} ms",
        "whole answer after": f"{1000 * heard.seconds:.0f} ms, {usage.get('completion_tokens', 0)} tokens",
        "known before": f"{details.get('cached_tokens', 0)} of {usage.get('prompt_tokens', 0)} decoder inputs",
        "LLM prefill": f"{in_flops(kept['prefill_flops'])} instead of {in_flops(kept['unreduced_flops'])}",
        "FLOPs saved": f"{saved:.0f} % ({less:.1f}x fewer)",
    }
    return "\n".join(f"- **{name}:** {value}" for name, value in rows.items())


def described(kept: dict[str, Any]) -> str:
    """The drawing in one sentence, for those who cannot see it."""
    method = kept["reduction"]["method"]
    return f"What {method} kept of the picture: " + "; ".join(_stage(stage) for stage in kept["stages"])


def _stage(stage: dict[str, Any]) -> str:
    where = "vision encoder" if stage["layer"] == 0 else f"after LLM layer {stage['layer']}"
    merged = f" ({stage['merged']} merged)" if stage["merged"] else ""
    return f"{where} {stage['entering']} \N{RIGHTWARDS ARROW} {stage['tokens']}{merged}"


def plain(text: str) -> str:
    """Markdown that shows every sign as it is."""
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]()#+-.!|<>~$&" else sign for sign in text)


def example_files(folder: str) -> list[list[str]]:
    """[picture, question] of the examples whose pictures are there."""
    rows = [[str(Path(folder) / name), question] for name, question in EXAMPLES]
    return [row for row in rows if Path(row[0]).is_file()]


def check_address(url: str) -> str:
    """A server's address.

    Raises:
        InputError: for what is none.
    """
    if not url.startswith(("http://", "https://")):
        raise InputError(f"a server's address must begin with http:// or https://: got {shown(url)}")
    return url
