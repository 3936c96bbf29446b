"""LLaMA's tokenizer with the ids LLaVA's has: transformers 5 loses a space that a text begins with."""

import re
from typing import Any

import transformers


class LlamaTokenizer(transformers.LlamaTokenizer):
    """transformers' LLaMA tokenizer, equal to the SentencePiece one on text that starts with a space.

    SentencePiece always puts a word-boundary mark before a text, so " b" begins with two of them. The tokenizer of
    transformers 5 leaves its mark out where the text brings one along. Writing such a space twice gives the same ids.
    With `legacy` tokenizers the same holds for the text after each special token. The name is that of its parent
    because transformers chooses the conversion of `tokenizer.model` by it, and writes it when a checkpoint is saved.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Looks idle, but transformers gives up the parent's text handling for a class without an __init__ of its own.
        super().__init__(*args, **kwargs)

    def _encode_plus(self, text: Any, *args: Any, **kwargs: Any) -> Any:
        return super()._encode_plus(self._with_mark(text), *args, **kwargs)

    def _with_mark(self, text: Any) -> Any:
        if isinstance(text, str):
            starts = ["^", *(re.escape(token) for token in self.all_special_tokens if self.legacy)]
            return re.sub(f"({'|'.join(starts)})(?= )", r"\1 ", text)
        if isinstance(text, (list, tuple)):
            return type(text)(self._with_mark(part) for part in text)
        return text
