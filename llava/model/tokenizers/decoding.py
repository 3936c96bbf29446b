"""Pieces back to text, by the rules of the slow LLaMA tokenizer of transformers 4.37."""

from collections.abc import Callable, Collection, Iterable

MARK = "\u2581"  # SentencePiece's word-boundary mark, which stands for a space
Join = Callable[[list[str]], str]  # the text of ordinary pieces


def between_special(tokens: list[str], special: Collection[str], legacy: bool, join: Join) -> str:
    """Join ordinary pieces between special tokens, which stay as they are.

    The first piece loses one mark, which the tokenizer put there. Where `legacy`, a space goes before every run that a
    special token ends (and before a special token behind nothing but the first one), as LLaVA's tokenizer writes it.
    """
    text, run, after_special = "", list[str](), False
    for number, token in enumerate(tokens):
        token = token if number else token.removeprefix(MARK)
        if token not in special:
            run.append(token)
            after_special = False
            continue
        text += " " if legacy and number and not after_special else ""
        text += join(run) + token
        run, after_special = [], True
    return text + join(run)


def around_added(tokens: Iterable[str], apart: Collection[str], join: Join) -> list[str]:
    """The texts between the tokens that stand apart, and those tokens, in order.

    Texts that come out empty are left out, but for the last.
    """
    parts, run = list[str](), list[str]()
    for token in tokens:
        if token not in apart:
            run.append(token)
            continue
        text = join(run)
        parts += [text, token] if text else [token]
        run = []
    return [*parts, join(run)] if run else parts
