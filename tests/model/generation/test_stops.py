"""An answer ends at its template's end mark: as a token, spelt over several, in any row, sampled or greedy."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import PARITY, Load, sample
from transformers import GenerationConfig

from llava.conversation import conv_templates
from llava.model.generation.greedy import Greedy, greedy_tokens
from llava.model.generation.stops import SpeltMarks, Stops, stops_of
from llava.model.tokenizer import load_tokenizer

pytestmark = pytest.mark.shallow

FAMILIES = PARITY / "families"


def tokenizer(name: str) -> Any:
    return load_tokenizer(str(PARITY / name))


@pytest.mark.parametrize(
    ("name", "template", "ends", "ids", "spelt"),
    [
        ("families/llama3-next", "llava_llama_3", 641, (641, 644), ()),  # a generation config without <|eot_id|>
        ("families/ov-qwen", "qwen_1_5", [640], (640, 642), ()),
        ("families/next-qwen-clip", "qwen_2", 642, (642,), ()),
        ("families/ov-qwen", "vicuna_v1", 642, (642,), ("</s>",)),
        ("families/yi-next", "chatml_direct", 2, (2,), ("<|im_end|>",)),  # spelt: not in this vocabulary
        ("families/mistral-next", "mistral_instruct", None, (2,), ()),
        ("tokenizers/mistral", "vicuna_v1", 2, (2,), ()),
        ("tokenizers/mistral", "llama_3", 2, (2,), ("<|eot_id|>",)),
        ("families/vicuna", "llava_v0", 2, (2,), ("###",)),
        ("families/vicuna", "plain", 2, (2,), ("\n",)),
    ],
)
def test_end_tokens_and_marks(name: str, template: str, ends: Any, ids: tuple, spelt: tuple) -> None:
    mark = conv_templates[template].end_mark
    assert stops_of(mark, tokenizer(name), GenerationConfig(eos_token_id=ends)) == Stops(ids, (mark,), spelt)


def test_stop_strings_of_a_checkpoint_count_too() -> None:
    config = GenerationConfig(eos_token_id=2, stop_strings=["END", "</s>"])
    stops = stops_of("</s>", tokenizer("families/vicuna"), config)
    assert stops.texts == ("</s>", "END") and stops.spelt == ("END",)
    assert stops.arguments(tokenizer("families/vicuna"))["stop_strings"] is None


@pytest.mark.parametrize(
    ("text", "marks", "left"),
    [
        (" Red.\n###Human: Blue?", ("###",), "Red."),
        ("Red<|im_end|>\n<|im_start|>user", ("<|im_end|>",), "Red"),
        ("\nA dog.\nA cat.", ("\n",), "A dog."),
        ("a END b STOP c", ("STOP", "END"), "a"),
        ("###", ("###",), ""),
        (" no mark ", ("</s>",), "no mark"),
    ],
)
def test_texts_are_cut_before_the_first_mark(text: str, marks: tuple, left: str) -> None:
    assert Stops((), marks).cut(text) == left


@pytest.mark.parametrize("name", ["tokenizers/mistral", "families/vicuna", "families/ov-qwen", "families/llama3-next"])
@pytest.mark.parametrize("mark", ["###", "<|stop|>", "終", "\n"])
def test_spelt_marks_are_seen_in_each_row(name: str, mark: str) -> None:
    made = tokenizer(name)
    texts = ["\nOne" + mark + "two and more", "Nothing at all here, whatever comes", mark.strip() + " at once" + mark]
    rows = [made(text, add_special_tokens=False).input_ids for text in texts]
    marks = SpeltMarks([mark], made)
    for text, ids in zip(texts, rows):
        for stop in range(1, len(ids) + 1):
            said = made.decode(ids[:stop], skip_special_tokens=True).lstrip()
            assert bool(marks(torch.tensor([ids[:stop]]))[0]) == (mark in said[-marks.reach :]), (text, said)
    width = min(map(len, rows))
    assert marks(torch.tensor([ids[:width] for ids in rows])).shape == (3,)


def scripted(rows: list[list[int]], size: int) -> Callable[[int], torch.Tensor]:
    """Logits (B, V) that choose token `at` of each row, as a model would that says these rows."""
    return lambda at: torch.nn.functional.one_hot(torch.tensor([row[at] for row in rows]), size).float()


def test_greedy_decoding_ends_each_row_at_its_own_mark() -> None:
    made = tokenizer("tokenizers/mistral")
    texts = ["Red ### Human: and so on and on and on", "A blue and a green square stand there ### no", "No more"]
    rows = [made(text, add_special_tokens=False).input_ids for text in texts]
    rows = [row + [made.eos_token_id] * (40 - len(row)) for row in rows]
    chosen, calls = scripted(rows, len(made)), iter(range(1, 40))
    settings = Greedy(40, (made.eos_token_id,), made.eos_token_id, (SpeltMarks(["###"], made),))
    tokens, bad, _ = greedy_tokens(chosen(0), lambda _: chosen(next(calls)), settings)
    stops = Stops((made.eos_token_id,), ("###",), ("###",))
    said = [stops.cut(text) for text in made.batch_decode(tokens, skip_special_tokens=True)]
    assert said == ["Red", "A blue and a green square stand there", "No more"] and not bad.any()
    first = made.decode(tokens[0], skip_special_tokens=True)
    assert first.endswith("###"), "a row that has ended says nothing more"
    needed = next(n for n in range(40) if "###" in made.decode(rows[1][:n]))
    assert tokens.shape[1] == needed, "and the batch ends with its longest row"


@pytest.mark.parametrize("how", [{"do_sample": False}, {"do_sample": False, "num_beams": 2}, {"do_sample": True}])
def test_generate_and_ask_stop_at_a_spelt_mark(load: Load, how: dict) -> None:
    loaded = load("llava-tiny-12l")
    asked = sample(loaded, "What is this?", "0.png")
    arguments = {"max_new_tokens": 12, "pad_token_id": 0, **how}
    made, model = loaded.tokenizer, loaded.model

    def drawn(**more: Any) -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(0)
        whole = model.generate(**asked._asdict(), **arguments, **more)
        torch.manual_seed(0)
        prefix = model.encode_image(asked.input_ids[0], asked.images, asked.image_sizes)
        return whole, model.ask(prefix, [asked.input_ids[0]], **arguments, **more)

    free, shared = drawn()
    assert torch.equal(free, shared)
    text = made.decode(free[0], skip_special_tokens=True)
    words = text.strip()
    mark = words[len(words) // 2 : len(words) // 2 + 3].strip() or words[-1]
    stops = stops_of(mark, made, model.generation_config)
    if mark not in stops.spelt:
        pytest.skip("the model says the mark as one token")
    for got in drawn(**stops.arguments(made)):
        said = made.decode(got[0], skip_special_tokens=True)
        if how.get("num_beams", 1) == 1:  # beams may prefer another answer then
            assert got.shape[1] <= free.shape[1] and said.strip() == words[: len(said.strip())]
            assert stops.cut(said) == words[: words.find(mark)].strip()
        assert mark not in stops.cut(said)


@pytest.mark.parametrize(("name", "template"), [("llama3-next", "llava_llama_3"), ("next-qwen-clip", "qwen_1_5")])
def test_the_template_ends_what_the_generation_config_would_not(load: Load, name: str, template: str) -> None:
    loaded = load(f"families/{name}")
    model, made = loaded.model, loaded.tokenizer
    stops = stops_of(conv_templates[template].end_mark, made, GenerationConfig(eos_token_id=5))
    end, at = stops.ids[-1], 3
    ids = torch.tensor([made("A text without picture").input_ids])
    arguments = {"do_sample": False, "max_new_tokens": 8, "pad_token_id": 0}
    free = model.generate(ids, eos_token_id=None, **arguments)[0].tolist()
    said, head = free[at], model.get_output_embeddings().weight
    table = model.get_input_embeddings().weight
    with torch.no_grad():  # exchange two words' places: the model says the end token where it said another
        for weight in {id(head): head, id(table): table}.values():
            weight[[said, end]] = weight[[end, said]]
    try:
        wanted = [end if token == said else said if token == end else token for token in free]
        assert model.generate(ids, eos_token_id=None, **arguments)[0].tolist() == wanted
        got = model.generate(ids, **arguments, **stops.arguments(made))[0].tolist()
        assert got == wanted[: wanted.index(end) + 1]
    finally:
        with torch.no_grad():
            for weight in {id(head): head, id(table): table}.values():
                weight[[said, end]] = weight[[end, said]]
