"""Which tokenizer a folder has, decided by its files; and one clear line for files that are damaged or lie."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers
from conftest import PARITY
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from llava.errors import InputError
from llava.model.tokenizer import LlamaTokenizer, load_tokenizer

TINY = PARITY / "llava-tiny"
TEXT = "<|begin_of_text|>What  is\n it? 中🙂"


def write(folder: Path, name: str, content: Any) -> None:
    (folder / name).write_text(json.dumps(content))


def change(folder: Path, **settings: Any) -> None:
    """Change keys of tokenizer_config.json."""
    write(folder, "tokenizer_config.json", json.loads((folder / "tokenizer_config.json").read_text()) | settings)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder with LLaVA's tiny tokenizer."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    for name in ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(TINY / name, folder / name)
    return folder


@pytest.fixture
def byte_level(tmp_path: Path) -> Path:
    """A folder with a tokenizer of the kind of Llama-3."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<|begin_of_text|>", "<|eot_id|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    raw.train_from_iterator(["What is in the picture? There is a red car on the street."] * 9, trainer)
    raw.post_processor = processors.TemplateProcessing(single="<|begin_of_text|> $A", special_tokens=[(special[0], 0)])
    folder = tmp_path / "byte-level"
    folder.mkdir()
    raw.save(str(folder / "tokenizer.json"))
    write(folder, "tokenizer_config.json", {"bos_token": special[0], "eos_token": special[1]})
    return folder


@pytest.mark.parametrize("name", [None, "PreTrainedTokenizerFast", "LlamaTokenizerFast", "Qwen2Tokenizer"])
def test_a_tokenizer_json_of_another_kind_has_its_own_ids(name: str | None, byte_level: Path) -> None:
    change(byte_level, tokenizer_class=name, auto_map={"AutoTokenizer": ["some/hub--code.Tokenizer", None]})
    tokenizer, raw = load_tokenizer(str(byte_level)), Tokenizer.from_file(str(byte_level / "tokenizer.json"))
    assert not isinstance(tokenizer, LlamaTokenizer) and len(tokenizer) == raw.get_vocab_size()
    for text in (TEXT, " a", "", "a</s>  b"):
        assert tokenizer(text).input_ids == raw.encode(text).ids
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1)
    assert tokenizer.decode(tokenizer(TEXT).input_ids, skip_special_tokens=True) == TEXT.removeprefix(
        "<|begin_of_text|>"
    )


def test_the_tokenizer_json_of_the_folder_is_read(byte_level: Path, tiny: Path) -> None:
    wanted = load_tokenizer(str(byte_level))(TEXT).input_ids
    change(byte_level, tokenizer_file=str(tiny / "tokenizer.model"), gguf_file="x.gguf", vocab_file="/etc/passwd")
    assert load_tokenizer(str(byte_level))(TEXT).input_ids == wanted


@pytest.fixture
def converted(tiny: Path, tmp_path: Path) -> Path:
    """What transformers 5 writes when a LLaMA tokenizer is saved: no tokenizer.model."""
    folder = tmp_path / "converted"
    transformers.LlamaTokenizer.from_pretrained(tiny).save_pretrained(folder)
    assert {"tokenizer.json", "tokenizer_config.json"} <= set(os.listdir(folder))
    assert "tokenizer.model" not in os.listdir(folder)
    return folder


@pytest.mark.parametrize("name", ["LlamaTokenizer", "LlamaTokenizerFast", "CodeLlamaTokenizer", None])
def test_a_converted_tokenizer_json_alone_is_refused(name: str | None, converted: Path) -> None:
    change(converted, tokenizer_class=name)
    with pytest.raises(InputError, match="must come as tokenizer.model: .* has a tokenizer.json made of one"):
        load_tokenizer(str(converted))


@pytest.mark.parametrize("name", ["PreTrainedTokenizerFast", "TokenizersBackend"])
def test_a_converted_tokenizer_json_counts_where_it_is_named(name: str, converted: Path) -> None:
    change(converted, tokenizer_class=name)
    tokenizer, raw = load_tokenizer(str(converted)), Tokenizer.from_file(str(converted / "tokenizer.json"))
    for text in ("a  b", " a", "yes</s> no", "中🙂", ""):
        assert tokenizer(text).input_ids == raw.encode(text).ids


def test_tokenizer_model_goes_before_a_converted_tokenizer_json(converted: Path, tiny: Path) -> None:
    wanted = load_tokenizer(str(tiny))("yes</s> no").input_ids
    shutil.copyfile(converted / "tokenizer.json", tiny / "tokenizer.json")
    assert load_tokenizer(str(tiny))("yes</s> no").input_ids == wanted


def test_a_tokenizer_without_bos_stays_one(converted: Path, tiny: Path) -> None:
    change(tiny, add_bos_token=False)  # as Yi's; transformers drops the flag where a tokenizer.json lies beside
    shutil.copyfile(converted / "tokenizer.json", tiny / "tokenizer.json")
    assert load_tokenizer(str(tiny))("a").input_ids == LlamaTokenizer.from_pretrained(TINY)("a").input_ids[1:]


def test_settings_name_no_other_files_and_no_roles_of_others(converted: Path, tiny: Path) -> None:
    wanted = load_tokenizer(str(tiny))("a <image>").input_ids
    change(tiny, vocab_file="/etc/passwd", tokenizer_file=None, image_token="<image>", name_or_path="some/where")
    (tiny / "tekken.json").write_text("{}")
    tokenizer = load_tokenizer(str(tiny))
    assert tokenizer("a <image>").input_ids == wanted and len(tokenizer) == tokenizer.vocab_size


def test_no_code_is_loaded_for_a_tokenizer(tiny: Path) -> None:
    (tiny / "code.py").write_text(f"open({str(tiny / 'ran')!r}, 'w')\nclass Mine: pass\n")
    auto_map = {"AutoTokenizer": ["code.Mine", None]}
    change(tiny, auto_map=auto_map, trust_remote_code=True)
    assert isinstance(load_tokenizer(str(tiny)), LlamaTokenizer)
    for name in ("Mine", None):
        change(tiny, tokenizer_class=name)
        with pytest.raises(InputError, match="must hold a LLaMA tokenizer"):
            load_tokenizer(str(tiny))
    assert not (tiny / "ran").exists()


def _model(change_bytes: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        file = folder / "tokenizer.model"
        file.write_bytes(change_bytes(file.read_bytes()))

    return damage


def _config(text: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / "tokenizer_config.json").write_bytes(text) and None


def _settings(**settings: Any) -> Callable[[Path], None]:
    return lambda folder: change(folder, **settings)


def _cut_between_pieces(content: bytes) -> bytes:
    """The first 300 pieces alone, which SentencePiece takes for a whole model."""
    place = 0
    for _ in range(300):
        place += 2 + content[place + 1]
    return content[:place]


TOKEN = {"content": "<x>", "lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}
DAMAGED: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty": (_model(lambda content: b""), "tokenizer.model.* is empty"),
    "random": (_model(lambda content: bytes(range(255, 0, -1)) * 9), "is none, or damaged"),
    "half": (_model(lambda content: content[: len(content) // 2]), "SentencePiece model"),
    "cut between pieces": (_model(_cut_between_pieces), "lacks its end"),
    "a pointer": (_model(lambda content: b"version https://git-lfs.github.com/spec/v1\n"), "pointer of Git LFS"),
    "tiktoken": (_model(lambda content: b"IQ== 0\nIg== 1\n"), "is none, or damaged"),
    "a folder": (lambda f: ((f / "tokenizer.model").unlink(), (f / "tokenizer.model").mkdir()), "tokenizer"),
    "no tokenizer": (lambda f: (f / "tokenizer.model").unlink(), "has neither tokenizer.model nor tokenizer.json"),
    "no JSON": (_config(b"{"), "a tokenizer_config.json must be JSON"),
    "an array": (_config(b"[]"), "must be one JSON object: .* is a JSON array"),
    "no UTF-8": (_config(b"\xff"), "must be UTF-8"),
    "depth": (_config(b"[" * 100_000), "nested too deeply"),
    "map": (lambda f: (f / "special_tokens_map.json").write_text("null"), "a special_tokens_map.json must be one"),
    "map of numbers": (lambda f: write(f, "special_tokens_map.json", {"eos_token": 2}), "'eos_token' is 2 .*a token"),
    "added": (lambda f: write(f, "added_tokens.json", {"<x>": "700"}), "'<x>' is '700' .* expected an id"),
    "flag": (_settings(legacy="false"), "'legacy' is 'false' .*expected true or false"),
    "token": (_settings(bos_token=["<s>"]), "'bos_token' is .*expected a token"),
    "token's flag": (_settings(bos_token=TOKEN | {"lstrip": "no"}), "'bos_token' is .*expected a token"),
    "length": (_settings(model_max_length="2048"), "'model_max_length' is '2048' .*expected a length"),
    "side": (_settings(padding_side="centre"), "must be readable"),
    "numbers": (_settings(added_tokens_decoder={"x": TOKEN}), "'added_tokens_decoder' is .*ids and tokens"),
    "hole": (_settings(added_tokens_decoder={"900": TOKEN}), "has the id 900 among 701 tokens"),
    "SentencePiece": (_settings(sp_model_kwargs={"model_file": "/etc/passwd"}), "'sp_model_kwargs' is .*nothing"),
    "inputs": (_settings(init_inputs=["/etc/passwd"]), "'init_inputs' is .*expected nothing"),
    "template": (_settings(chat_template=[{"name": "a"}]), "'chat_template' is .*expected a template"),
    "class": (_settings(tokenizer_class=3), "'tokenizer_class' is 3 .*expected the name of a class"),
    "other class": (_settings(tokenizer_class="T5Tokenizer"), "has tokenizer.model for 'T5Tokenizer'"),
    "generic class": (_settings(tokenizer_class="PreTrainedTokenizerFast"), "tokenizer.model for 'PreTrainedTok"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_files_are_refused_in_one_line(case: str, tiny: Path) -> None:
    damage, message = DAMAGED[case]
    damage(tiny)
    with pytest.raises(InputError, match=message) as refused:
        load_tokenizer(str(tiny))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"model": 3}', '{"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": [3]}}'],
)
def test_a_damaged_tokenizer_json_is_refused_in_one_line(content: str, byte_level: Path) -> None:
    (byte_level / "tokenizer.json").write_text(content)
    with pytest.raises(InputError, match="tokenizer") as refused:
        load_tokenizer(str(byte_level))
    assert "\n" not in str(refused.value)


def test_a_panic_of_the_library_is_refused_in_one_line(byte_level: Path) -> None:
    content = json.loads((byte_level / "tokenizer.json").read_text())
    content["post_processor"]["special_tokens"] = {}
    write(byte_level, "tokenizer.json", content)
    with pytest.raises(InputError, match="must be readable"):
        load_tokenizer(str(byte_level))


@pytest.mark.parametrize(("path", "message"), [("nobody/has-it", "has neither"), ("no/such/folder", "or on a hub")])
def test_what_is_neither_folder_nor_hub_id_is_refused(path: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_tokenizer(path)


def test_a_direct_call_refuses_alike(tiny: Path) -> None:
    (tiny / "tokenizer.model").write_bytes(b"")
    for place in (tiny, tiny / "tokenizer.model"):
        with pytest.raises(InputError, match="is empty"):
            LlamaTokenizer.from_pretrained(place)
    (tiny / "tokenizer.model").unlink()
    with pytest.raises(InputError, match="must come as tokenizer.model"):
        LlamaTokenizer.from_pretrained(tiny)
