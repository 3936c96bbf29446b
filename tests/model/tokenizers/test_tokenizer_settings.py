"""Settings of any kind in a tokenizer's files: they are read, or refused in one line."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import PARITY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llava.errors import InputError
from llava.model.tokenizer import load_tokenizer

TINY = PARITY / "llava-tiny"
KNOWN = sorted(json.loads((TINY / "tokenizer_config.json").read_text()))
OTHERS = ["added_tokens_decoder", "additional_special_tokens", "auto_map", "backend", "chat_template", "init_inputs"]
OTHERS += ["extra_special_tokens", "image_token", "model_input_names", "truncation_side", "verbose", "vocab_file", "x"]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
changes = st.dictionaries(st.sampled_from(KNOWN + OTHERS), values, min_size=1, max_size=3)
FILES = ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("settings")
    shutil.copyfile(TINY / "tokenizer.model", made / "tokenizer.model")
    return made


@given(st.sampled_from(FILES), changes)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_settings_are_read_or_refused_in_one_line(folder: Path, name: str, changed: dict[str, Any]) -> None:
    for file in FILES:
        (folder / file).unlink(missing_ok=True)
    (folder / name).write_text(json.dumps(changed))
    try:
        tokenizer = load_tokenizer(str(folder))
    except InputError as refused:
        assert "\n" not in str(refused)
    else:
        ids = tokenizer("plain words <s> <image>").input_ids
        assert max([*ids, *tokenizer.added_tokens_decoder]) < len(tokenizer)  # every id has a row in an embedding
        tokenizer.decode(ids, skip_special_tokens=True)


@given(st.binary(max_size=2000), st.integers(0, 5000))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_vocabularies_are_read_or_refused_in_one_line(tmp_path: Path, middle: bytes, place: int) -> None:
    whole = (TINY / "tokenizer.model").read_bytes()
    (tmp_path / "tokenizer.model").write_bytes(whole[:place] + middle + whole[place + len(middle) :])
    try:
        tokenizer = load_tokenizer(str(tmp_path))
    except InputError as refused:
        assert "\n" not in str(refused)
    else:
        assert max(tokenizer("plain words").input_ids) < len(tokenizer)
