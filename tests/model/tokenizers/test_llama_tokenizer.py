"""What programs do with a tokenizer besides calling it: pad, add, save, copy, stream, stop."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import PARITY
from transformers import AddedToken, TextIteratorStreamer, TextStreamer

from llava.mm_utils import KeywordsStoppingCriteria, tokenizer_image_token
from llava.model.tokenizer import LlamaTokenizer, load_tokenizer

MISTRAL = PARITY / "tokenizers/mistral"
TEXTS = ["", "a  b", " a", "yes</s> no", "\u2581", "<im_start>中<im_end> <pad>"]


def mistral(**settings: Any) -> LlamaTokenizer:
    return LlamaTokenizer.from_pretrained(MISTRAL, **settings)


def ids_and_texts(tokenizer: LlamaTokenizer) -> list[Any]:
    ids = [tokenizer(text).input_ids for text in TEXTS]
    return [ids, [tokenizer.decode(row) for row in ids], tokenizer.batch_decode(ids, skip_special_tokens=True)]


def test_a_batch_is_padded_as_asked() -> None:
    tokenizer = mistral(pad_token="<unk>")
    right = tokenizer(["a", "a  b"], padding=True, return_tensors="pt")
    left = tokenizer(["a", "a  b"], padding="max_length", max_length=5, padding_side="left")
    assert right.input_ids.tolist() == [[1, 264, 0, 0], [1, 264, 28705, 287]]
    assert right.attention_mask.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert left.input_ids == [[0, 0, 0, 1, 264], [0, 1, 264, 28705, 287]]
    assert set(left) == {"input_ids", "attention_mask"}


def test_bos_and_eos_are_put_as_the_flags_say() -> None:
    tokenizer = mistral(add_eos_token=True)
    assert tokenizer("a").input_ids == [1, 264, 2]
    assert tokenizer("a", add_special_tokens=False).input_ids == [264]
    assert tokenizer("a  b", truncation=True, max_length=3).input_ids == [1, 264, 2]
    pair = tokenizer("a", "a", return_special_tokens_mask=True, return_token_type_ids=True)
    assert pair.input_ids == [1, 264, 2, 1, 264, 2]
    assert pair.special_tokens_mask == [1, 0, 1, 1, 0, 1] and pair.token_type_ids == [0, 0, 0, 1, 1, 1]
    tokenizer.add_bos_token = False
    assert tokenizer("a").input_ids == [264, 2]
    assert tokenizer.get_special_tokens_mask([1, 264, 2], already_has_special_tokens=True) == [1, 0, 1]


def test_tokens_are_added_once() -> None:
    tokenizer = mistral()
    assert len(tokenizer) == tokenizer.vocab_size == 32000
    assert tokenizer.add_tokens(["<im_start>", "<im_end>"], special_tokens=True) == 2
    assert tokenizer.add_tokens(["<im_start>", AddedToken("<im_end>", lstrip=True), "</s>", "\u2581the"]) == 0
    assert len(tokenizer) == 32002
    assert tokenizer.convert_tokens_to_ids(["<im_start>", "<im_end>", "</s>", "no such"]) == [32000, 32001, 2, 0]
    assert tokenizer.convert_ids_to_tokens([32001, 264]) == ["<im_end>", "\u2581a"]
    assert tokenizer("a <im_end>").input_ids == [1, 264, 32001]  # it takes the spaces on its left now


def test_rows_beyond_the_vocabulary_stand_for_nothing() -> None:
    tokenizer = mistral()
    assert tokenizer.decode([1, 264, 32050, 287]) == "<s>a b"
    with pytest.raises(IndexError):
        tokenizer.decode([-200])


@pytest.mark.parametrize("settings", [{}, {"legacy": False}, {"pad_token": "<pad>", "add_bos_token": False}])
@pytest.mark.parametrize("special", [True, False])
def test_saved_and_loaded_again(settings: dict[str, Any], special: bool, tmp_path: Path) -> None:
    tokenizer = mistral(**settings)
    tokenizer.add_tokens(["<im_start>", "<im_end>"], special_tokens=special)
    tokenizer.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)  # onto itself
    again = load_tokenizer(str(tmp_path))
    again.save_pretrained(tmp_path)  # the file it was read from
    assert (tmp_path / "tokenizer.model").read_bytes() == (MISTRAL / "tokenizer.model").read_bytes()
    written = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert written["tokenizer_class"] == "LlamaTokenizer" and written["legacy"] is tokenizer.legacy
    assert written["add_bos_token"] is tokenizer.add_bos_token  # transformers itself leaves it out
    assert written.get("additional_special_tokens", []) == (["<im_start>", "<im_end>"] if special else [])
    for read in (again, load_tokenizer(str(tmp_path))):
        assert ids_and_texts(read) == ids_and_texts(tokenizer) and len(read) == len(tokenizer)


@pytest.mark.parametrize("legacy", [True, False])
def test_copies_are_equal(legacy: bool, tmp_path: Path) -> None:
    tokenizer = LlamaTokenizer(str(MISTRAL / "tokenizer.model"), legacy=legacy, pad_token="<pad>")
    tokenizer.add_tokens(["<im_start>"], special_tokens=True)
    unpickled = pickle.loads(pickle.dumps(tokenizer))
    for other in (copy.deepcopy(tokenizer), unpickled):
        assert ids_and_texts(other) == ids_and_texts(tokenizer)
    unpickled.vocab_file = str(tmp_path / "elsewhere")  # a worker on another machine has no such file
    unpickled.save_pretrained(tmp_path)
    assert ids_and_texts(load_tokenizer(str(tmp_path))) == ids_and_texts(tokenizer)


def test_the_default_is_legacy() -> None:
    tokenizer = LlamaTokenizer(str(MISTRAL / "tokenizer.model"))
    assert tokenizer.legacy is True and tokenizer("yes</s> no").input_ids == [1, 5081, 2, 28705, 708]
    assert LlamaTokenizer.from_pretrained(MISTRAL / "tokenizer.model").legacy is True


def test_spaces_are_cleaned_up_where_asked() -> None:
    ids = mistral()("a ? it 's", add_special_tokens=False).input_ids
    assert mistral().decode(ids) == "a ? it 's"
    assert mistral().decode(ids, clean_up_tokenization_spaces=True) == "a? it's"
    assert mistral(clean_up_tokenization_spaces=True).decode(ids) == "a? it's"


def test_a_streamed_answer_is_the_whole_answer(capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = mistral()
    answer = "Two  cats 🙂 and 中文字 \n\nover there."
    ids = torch.tensor(tokenizer(answer, add_special_tokens=False).input_ids)
    streamer = TextIteratorStreamer(tokenizer, skip_special_tokens=True)
    printer = TextStreamer(tokenizer, skip_special_tokens=True)
    for one in (streamer, printer):
        for number in ids:
            one.put(number[None])
        one.end()
    assert "".join(streamer) == answer and capsys.readouterr().out == answer + "\n"


def test_a_chat_template_is_applied(tmp_path: Path) -> None:
    tokenizer = mistral(chat_template="{% for m in messages %}{{ m['role'] }}:  {{ m['content'] }}</s>{% endfor %}")
    chat = [{"role": "user", "content": "a  b"}, {"role": "assistant", "content": " a"}]
    text = "user:  a  b</s>assistant:   a</s>"
    assert tokenizer.apply_chat_template(chat, tokenize=False) == text
    ids = tokenizer.apply_chat_template(chat, return_dict=True)["input_ids"]
    assert ids == tokenizer(text, add_special_tokens=False).input_ids
    tokenizer.save_pretrained(tmp_path)
    assert load_tokenizer(str(tmp_path)).apply_chat_template(chat, tokenize=False) == text


def test_images_split_a_prompt_and_take_no_spaces() -> None:
    tokenizer = mistral()
    ids = tokenizer_image_token("<s>a <image>  b</s> <image>", tokenizer)
    first, second = tokenizer("<s>a ").input_ids, tokenizer("  b</s> ").input_ids
    assert ids == [*first, -200, *second[1:], -200]
    assert second[:3] == [1, 259, 287]  # the mark in front and one of the two spaces are one piece


@pytest.mark.parametrize(
    ("keyword", "answer"), [("</s>", "a  b</s>"), ("###", "a\n###"), ("b", "a  b"), ("字", "文字")]
)
def test_keywords_end_an_answer(keyword: str, answer: str) -> None:
    tokenizer = mistral()
    stop = KeywordsStoppingCriteria([keyword], tokenizer, torch.tensor([[1]]))
    ids = torch.tensor([tokenizer(answer, add_special_tokens=False).input_ids])
    verdicts = [bool(stop(ids[:, :length], None)) for length in range(1, ids.shape[1] + 1)]
    assert verdicts == [False] * (ids.shape[1] - 1) + [True]
