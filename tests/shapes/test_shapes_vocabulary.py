"""The shipped vocabulary is the recipe's, and gives the ids that the shipped weights were trained on."""

import hashlib
import json
from pathlib import Path

from sentencepiece import sentencepiece_model_pb2

from llava.conversation import get_conv_template
from llava.eval.runs.loading import TRAINED
from llava.mm_utils import tokenizer_image_token
from llava.model.tokenizer import load_tokenizer
from playground.shapes.text import train_tokenizer

ROOT = Path(__file__).parents[2]
# Of the ids of all 2,119 prompts, as the tokenizer gave them that the weights were trained with (commit 9f7e749).
TRAINED_ON = "06d11b2f959e0d4bfc0538047dfd383d528a058d9a70c4b16020f8c50d1773de"


def read(folder: Path) -> tuple[list[tuple[str, float, int]], tuple[str, bool, bool, bytes]]:
    """The pieces with their scores and types, and what is done to a text before."""
    model = sentencepiece_model_pb2.ModelProto.FromString((folder / "tokenizer.model").read_bytes())
    text = model.normalizer_spec
    settings = (text.name, text.add_dummy_prefix, text.remove_extra_whitespaces, text.precompiled_charsmap)
    return [(piece.piece, piece.score, piece.type) for piece in model.pieces], settings


def test_the_recipe_makes_the_shipped_vocabulary(tmp_path: Path) -> None:
    train_tokenizer(tmp_path)
    shipped = read(ROOT / TRAINED)
    assert shipped == read(tmp_path)
    assert (tmp_path / "tokenizer.model").read_bytes() == (ROOT / TRAINED / "tokenizer.model").read_bytes()
    assert shipped[1] == read(ROOT / "tests/parity/tokenizers/mistral")[1]  # a text as it is, as LLaMA's vocabularies


def test_prompts_have_the_ids_that_the_weights_know() -> None:
    tokenizer = load_tokenizer(str(ROOT / TRAINED))
    ids = []
    for line in (ROOT / "playground/shapes/questions.jsonl").read_text().splitlines():
        talk = get_conv_template("vicuna_v1")
        talk.append_message(talk.roles[0], f"<image>\n{json.loads(line)['text']}")
        talk.append_message(talk.roles[1], None)
        ids.append(tokenizer_image_token(talk.get_prompt(), tokenizer))
    assert (len(ids), hashlib.sha256(json.dumps(ids).encode()).hexdigest()) == (2119, TRAINED_ON)
    assert ids[-1][-28:-20] == [610, 597, -200, 597, 13, 315, 262, 399]  # ": <image>\n" keeps its space and line feed
