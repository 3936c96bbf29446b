"""Ids and texts against SentencePiece itself, on texts of every kind; the rules around it are written anew here."""

import re
from functools import cache

import pytest
import sentencepiece
from conftest import PARITY
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from sentencepiece import sentencepiece_model_pb2

from llava.model.tokenizer import LlamaTokenizer

MISTRAL = PARITY / "tokenizers/mistral"
ADDED = ["<im_start>", "<im_end>"]
SPECIAL = {"<unk>": 0, "<s>": 1, "</s>": 2, "<im_start>": 32000, "<im_end>": 32001}
PARTS = [
    *SPECIAL,
    *(" ", "  ", "   ", " " * 9, " " * 17, "\u2581", "\u2581\u2581", "\n", "\n\n", "\t", "\r", "\0", "\x1b", "\x7f"),
    *("a", " the", "USER:", " ASSISTANT: ", "</", "<s", "im_start>", "<0x0A>", "<image>", "###", "42", "?"),
    *("🙂", "👩‍👩‍👧", "中文", "字", "é", "e\u0301", "\u00a0", "\u200b", "\ufeff", "\u3000", "ﬁ", "\ufffd", "ह"),
]
texts = st.lists(st.one_of(st.sampled_from(PARTS), st.text(max_size=4)), max_size=12).map("".join)
pieces = st.integers(3, 31999)
byte_pieces = st.integers(3, 258)


@cache
def tokenizer(legacy: bool) -> LlamaTokenizer:
    made = LlamaTokenizer.from_pretrained(MISTRAL, legacy=legacy)
    assert made.add_tokens(ADDED, special_tokens=True) == 2
    return made


@cache
def processor(mark_in_front: bool) -> sentencepiece.SentencePieceProcessor:
    """Mistral's model; SentencePiece puts a word-boundary mark before every text, or does not."""
    model = sentencepiece_model_pb2.ModelProto.FromString((MISTRAL / "tokenizer.model").read_bytes())
    model.normalizer_spec.add_dummy_prefix = mark_in_front
    return sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())


def segments(text: str) -> list[str]:
    """A text cut around its special tokens."""
    return [part for part in re.split("(" + "|".join(map(re.escape, SPECIAL)) + ")", text) if part]


def legacy_ids(text: str) -> list[int]:
    """Every segment between special tokens is a text of its own."""
    found = [[SPECIAL[part]] if part in SPECIAL else processor(True).encode(part) for part in segments(text)]
    return [1, *sum(found, [])]


def newer_ids(text: str) -> list[int]:
    """One mark before the whole text, unless it begins with a special token; U+2581 is a space."""
    spaced = text.replace("\u2581", " ")
    parts = segments(spaced)
    if parts and parts[0] not in SPECIAL:
        parts[0] = " " + parts[0]
    found = [[SPECIAL[part]] if part in SPECIAL else processor(False).encode(part) for part in parts]
    return [1, *sum(found, [])]


@given(texts)
@example("a  b")
@example(" a")
@example("yes</s> no")
@example("\u2581")
@example("")
@settings(max_examples=300, deadline=None)
def test_ids_of_a_legacy_tokenizer(text: str) -> None:
    assert tokenizer(True)(text).input_ids == legacy_ids(text)


@given(texts)
@example(" <s>")
@example("<s>a")
@example("yes</s> no")
@settings(max_examples=300, deadline=None)
def test_ids_of_a_newer_tokenizer(text: str) -> None:
    assert tokenizer(False)(text).input_ids == newer_ids(text)


def characters(data: bytes) -> str:
    """UTF-8 where it is; every byte that belongs to no character is U+FFFD."""
    text, place = "", 0
    while place < len(data):
        for length in (1, 2, 3, 4):
            try:
                character = data[place : place + length].decode()
            except UnicodeDecodeError:
                continue
            text, place = text + character, place + length
            break
        else:
            text, place = text + "\ufffd", place + 1
    return text


def text_of(ids: list[int]) -> str:
    """Ordinary pieces, written out; runs of byte pieces are read as UTF-8."""
    text, run = "", b""
    for number in [*ids, 0]:
        if 3 <= number < 259:
            run += bytes([number - 3])
            continue
        text, run = text + characters(run), b""
        text += processor(True).id_to_piece(number).replace("\u2581", " ") if number else ""
    return text


def with_bytes(data: bytes) -> list[int]:
    return [3 + byte for byte in data]


@given(st.lists(st.one_of(pieces, byte_pieces, byte_pieces), max_size=20))
@example(with_bytes("中".encode()[:2]))
@example(with_bytes("🙂".encode()[1:]))
@example(with_bytes("中🙂".encode()[:-1]))
@example(with_bytes(b"\xed\xa0\x80\xc0\x80\xf5\x80\x80\x80"))
@example(with_bytes(b"\xf0\x9f"))
@settings(max_examples=300, deadline=None)
def test_text_of_any_ids(ids: list[int]) -> None:
    first = processor(True).piece_to_id("\u2581a")  # the mark that is taken off in front is this one's
    for legacy in (True, False):
        assert tokenizer(legacy).decode([first, *ids]) == "a" + text_of(ids)


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_what_was_encoded_is_decoded(text: str) -> None:
    assume(not any(token in text for token in SPECIAL))
    plain = text.replace("\u2581", " ")  # the mark and the space are one to SentencePiece
    made = tokenizer(False)
    assert made.decode(made("a" + text).input_ids, skip_special_tokens=True) == "a" + plain


@pytest.mark.parametrize(
    ("legacy", "ids", "whole", "skipped"),
    [  # recorded from transformers 4.37.2
        (True, [1, 264, 28705, 287], "<s>a  b", "a  b"),
        (True, [1, 28705, 264], "<s> a", "a"),
        (True, [1, 1318, 2, 28705, 337], "<s> x</s> y", "x  y"),
        (True, [1, 264, 32000, 28705, 32001, 2], "<s>a <im_start> <im_end> </s>", "a "),
        (True, [32000, 28705], "<im_start> ", ""),
        (True, [1, 264, 2, 28705, 264, 2], "<s> a</s>  a</s>", "a  a"),
        (True, [], "", ""),
        (False, [1, 264, 28705, 287], "<s> a  b", "a  b"),
        (False, [1, 28705, 264], "<s>  a", " a"),
        (False, [1, 1318, 2, 28705, 337], "<s> x</s>  y", "x  y"),
        (False, [1, 264, 32000, 28705, 32001, 2], "<s> a <im_start> <im_end> </s>", "a "),
    ],
)
def test_special_tokens_in_texts(legacy: bool, ids: list[int], whole: str, skipped: str) -> None:
    made = tokenizer(legacy)
    assert (made.decode(ids), made.decode(ids, skip_special_tokens=True)) == (whole, skipped)
    assert made.batch_decode([ids, ids], skip_special_tokens=True) == [skipped, skipped]
