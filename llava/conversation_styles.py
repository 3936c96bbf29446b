"""How the turns of a conversation become one text: a function for each of LLaVA's separator styles."""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

from llava.errors import InputError

Turn = tuple[str, str | None]  # role, text; no text: the answer that is awaited


class SeparatorStyle(Enum):
    """How the turns of a conversation are joined; the rules are the functions of this file."""

    SINGLE = 1  # role: text, one separator
    TWO = 2  # role: text, one separator for each side
    MPT = 3  # role and text with nothing between
    PLAIN = 4  # text alone
    LLAMA_2 = 5  # [INST] text [/INST]
    CHATML = 6  # as MPT, with a line feed after roles and after separators: Qwen
    LLAMA_3 = 7  # each role in a header of its own, on which an empty line follows


class Marks(NamedTuple):
    """What stands around the turns: the system text, and what closes a user's (`sep`) and an assistant's (`sep2`)."""

    style: SeparatorStyle
    system: str
    sep: str
    sep2: str | None


def written(marks: Marks, turns: Sequence[Turn]) -> str:
    """The prompt; InputError when the style closes answers with `sep2` and there is none."""
    return _STYLES[marks.style](marks, turns)


def _closing(marks: Marks, index: int) -> str:
    """What closes turn `index` when both sides have their own separator: users are even, assistants odd."""
    if index % 2 == 0:
        return marks.sep
    if marks.sep2 is None:
        raise InputError(
            f"a conversation of style {marks.style.name} without sep2 holds one message: got an answer to it,"
            " expected none; choose a chat template (such as vicuna_v1) or set sep2"
        )
    return marks.sep2


def _single(marks: Marks, turns: Sequence[Turn]) -> str:
    said = (f"{role}: {text}{marks.sep}" if text else f"{role}:" for role, text in turns)
    return marks.system + marks.sep + "".join(said)


def _two(marks: Marks, turns: Sequence[Turn]) -> str:
    said = (f"{role}: {text}{_closing(marks, i)}" if text else f"{role}:" for i, (role, text) in enumerate(turns))
    return marks.system + marks.sep + "".join(said)


def _mpt(marks: Marks, turns: Sequence[Turn]) -> str:
    # Roles end in a line feed of their own; none stands between <|im_end|> and the next <|im_start|>.
    return marks.system + marks.sep + "".join(f"{role}{text}{marks.sep}" if text else role for role, text in turns)


def _chatml(marks: Marks, turns: Sequence[Turn]) -> str:
    head = f"{marks.system}{marks.sep}\n" if marks.system else ""
    return head + "".join(f"{role}\n{text}{marks.sep}\n" if text else f"{role}\n" for role, text in turns)


def _llama_3(marks: Marks, turns: Sequence[Turn]) -> str:
    # Llama-3's own chat template: it trims texts and begins with BOS. The tokenizer adds its own, so ids begin with
    # two, as those that LLaVA-NeXT's checkpoints were trained on.
    def head(role: str) -> str:
        return f"<|start_header_id|>{role}<|end_header_id|>\n\n"

    said = "".join(head(role) + (text.strip() + marks.sep if text else "") for role, text in turns)
    return f"<|begin_of_text|>{head('system')}{marks.system.strip()}{marks.sep}{said}"


def _plain(marks: Marks, turns: Sequence[Turn]) -> str:
    return marks.system + "".join(f"{text}{_closing(marks, i)}" for i, (_, text) in enumerate(turns) if text)


def _llama_2(marks: Marks, turns: Sequence[Turn]) -> str:
    # The system text lives inside the first user turn. The first <s> goes, because the tokenizer adds its own BOS;
    # lstrip takes a set of characters, as LLaVA does: an empty sep strips nothing.
    said = []
    for i, (_, text) in enumerate(turns):
        if text and i % 2:
            said.append(f" {text} {_closing(marks, i)}")
        elif text:
            head = f"<<SYS>>\n{marks.system}\n<</SYS>>\n\n" if i == 0 and marks.system else ""
            said.append(f"{_closing(marks, i)}[INST] {head}{text} [/INST]")
    return "".join(said).lstrip(marks.sep)


_STYLES: dict[SeparatorStyle, Callable[[Marks, Sequence[Turn]], str]] = {
    SeparatorStyle.SINGLE: _single,
    SeparatorStyle.TWO: _two,
    SeparatorStyle.MPT: _mpt,
    SeparatorStyle.PLAIN: _plain,
    SeparatorStyle.LLAMA_2: _llama_2,
    SeparatorStyle.CHATML: _chatml,
    SeparatorStyle.LLAMA_3: _llama_3,
}
