"""LLaMA's tokenizer on SentencePiece itself, with the ids and texts of the slow one that LLaVA was written for."""

import os
from typing import Any

from transformers import AddedToken, PreTrainedTokenizer, SentencePieceBackend

from llava.files.reading import read_bytes
from llava.files.writing import write_bytes
from llava.model.tokenizers.decoding import MARK, around_added, between_special
from llava.model.tokenizers.settings import add_settings, loading_arguments


class LlamaTokenizer(SentencePieceBackend):
    """The slow `LlamaTokenizer` of transformers 4.37, LLaVA's, for transformers 5.

    That of transformers 5 rebuilds the vocabulary's merges by id, where SentencePiece goes by score: in LLaMA's and
    Mistral's vocabularies runs of spaces have low ids and the lowest score, so every text in which two spaces meet
    comes out as other ids. Here SentencePiece splits and joins, and this class does what lies around it:

    - added and special tokens are cut out of the text first; each text between them is tokenised alone.
    - `legacy` (the default): each of these texts gets a word-boundary mark of its own. Not `legacy`: only the first.
    - `add_bos_token`, `add_eos_token`: BOS before and EOS behind every sequence.

    The name is the one that LLaVA's own code looks for in a saved `tokenizer_config.json`.
    """

    vocab_files_names = {"vocab_file": "tokenizer.model"}
    model_input_names = ["input_ids", "attention_mask"]

    def __init__(
        self,
        vocab_file: str,
        unk_token: str | AddedToken = "<unk>",
        bos_token: str | AddedToken | None = "<s>",
        eos_token: str | AddedToken | None = "</s>",
        pad_token: str | AddedToken | None = None,
        sp_model_kwargs: dict[str, Any] | None = None,
        add_bos_token: bool = True,
        add_eos_token: bool = False,
        legacy: bool | None = None,
        **kwargs: Any,
    ) -> None:
        self.add_bos_token, self.add_eos_token = add_bos_token, add_eos_token
        named = {"unk_token": unk_token, "bos_token": bos_token, "eos_token": eos_token, "pad_token": pad_token}
        super().__init__(
            vocab_file=os.fspath(vocab_file),
            sp_model_kwargs=sp_model_kwargs or {},
            add_bos_token=add_bos_token,
            add_eos_token=add_eos_token,
            legacy=True if legacy is None else legacy,
            **{name: _as_special(token) for name, token in named.items()},
            **kwargs,
        )

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *inputs: Any, **kwargs: Any) -> "LlamaTokenizer":
        """The tokenizer of a folder or hub id; `kwargs` go before what its files say.

        Raises:
            InputError: when `tokenizer.model` is damaged, or a file beside it is no JSON or holds a wrong setting.
        """
        found = loading_arguments(pretrained_model_name_or_path, kwargs) | kwargs
        return super().from_pretrained(pretrained_model_name_or_path, *inputs, **found)

    def tokenize(self, text: str, **kwargs: Any) -> list[str]:
        """The pieces of a text, without BOS and EOS."""
        if self.legacy or not text:
            return super().tokenize(text, **kwargs)
        pieces = super().tokenize(MARK + text.replace(MARK, " "), **kwargs)
        # A mark that stands alone before a special token is the one that was put there.
        alone = pieces[:1] == [MARK] and len(pieces) > 1 and pieces[1] in self.all_special_tokens
        return pieces[1:] if alone else pieces

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """One sequence, or two behind each other, each between BOS and EOS as the flags say."""
        before, behind = self._surroundings()
        first = before + token_ids_0 + behind
        return first if token_ids_1 is None else first + before + token_ids_1 + behind

    def get_special_tokens_mask(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None, already_has_special_tokens: bool = False
    ) -> list[int]:
        """1 where `build_inputs_with_special_tokens` puts BOS or EOS, 0 at the sequences' own ids."""
        if already_has_special_tokens:
            return super().get_special_tokens_mask(token_ids_0, token_ids_1, already_has_special_tokens=True)
        before, behind = ([1] * len(ids) for ids in self._surroundings())
        first = before + [0] * len(token_ids_0) + behind
        return first if token_ids_1 is None else first + before + [0] * len(token_ids_1) + behind

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """The text of pieces; runs of bytes become characters, and each byte that is no UTF-8 one U+FFFD."""
        return between_special(tokens, set(self.all_special_tokens), self.legacy, self._join)

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str]:
        """Write `tokenizer.model` as it was read; returns its path."""
        path = os.path.join(save_directory, (f"{filename_prefix}-" if filename_prefix else "") + "tokenizer.model")
        there = os.path.isfile(self.vocab_file)  # not on another machine, where a worker unpickled this
        content = read_bytes(self.vocab_file, "a tokenizer.model") if there else self.sp_model.serialized_model_proto()
        write_bytes(path, content)
        return (path,)

    def _surroundings(self) -> tuple[list[int], list[int]]:
        """The ids before and behind a sequence."""
        before = [self.bos_token_id] if self.add_bos_token and self.bos_token_id is not None else []
        behind = [self.eos_token_id] if self.add_eos_token and self.eos_token_id is not None else []
        return before, behind

    def _join(self, pieces: list[str]) -> str:
        pieces = [piece for piece in pieces if piece]
        return self.sp_model.decode(pieces) if pieces else ""

    def _convert_id_to_token(self, index: int) -> str:
        # Embeddings may have rows beyond the vocabulary: nothing stands for them, as in transformers 5.
        return "" if index >= self.vocab_size else self.sp_model.id_to_piece(index)

    def _decode(
        self,
        token_ids: int | list[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        spaces_between_special_tokens: bool = True,
        **kwargs: Any,
    ) -> str:
        ids = [token_ids] if isinstance(token_ids, int) else token_ids
        tokens = self.convert_ids_to_tokens(ids, skip_special_tokens=skip_special_tokens)
        parts = around_added(tokens, self._standing_apart(), self.convert_tokens_to_string)
        text = (" " if spaces_between_special_tokens else "").join(parts)
        wanted = clean_up_tokenization_spaces
        clean = self.clean_up_tokenization_spaces if wanted is None else wanted
        return self.clean_up_tokenization(text) if clean else text

    def _standing_apart(self) -> set[str]:
        """Added tokens that are not special, and special ones without a role that are beyond the vocabulary."""
        beyond = {token for token in self.extra_special_tokens if self.convert_tokens_to_ids(token) >= self.vocab_size}
        return set(self._added_tokens_encoder) - set(self.all_special_tokens) | beyond

    def _add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        # SentencePieceBackend's own gives a token that is there already a second id when its flags differ.
        return PreTrainedTokenizer._add_tokens(self, new_tokens, special_tokens)

    def _save_pretrained(self, save_directory: Any, file_names: tuple[str, ...], *args: Any, **kwargs: Any) -> Any:
        # transformers 5 leaves these flags out, and LLaVA's transformers knows extra tokens by the older name.
        flags: dict[str, Any] = {"add_bos_token": self.add_bos_token, "add_eos_token": self.add_eos_token}
        extra = {"additional_special_tokens": self.extra_special_tokens} if self.extra_special_tokens else {}
        add_settings(file_names[0], flags | extra)
        return super()._save_pretrained(save_directory, file_names, *args, **kwargs)


def _as_special(token: str | AddedToken | None) -> AddedToken | None:
    return AddedToken(token, normalized=False, special=True) if isinstance(token, str) else token
