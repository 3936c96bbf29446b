"""Several images and several turns, under every method there is: batched, cached, shared and continued alike.

On small models of random weights, of one view per image and of LLaVA-NeXT's several. A new method needs nothing here:
its own schedule is taken.
"""

import itertools
from typing import Any, NamedTuple

import pytest
import torch

from llava.errors import InputError
from llava.eval.speed.random_model import Shape, random_model
from llava.model.language_model.llava_llama import LlavaLlamaForCausalLM
from llava.model.trace import Trace
from llava.reduction import Reduction, available, method_class
from llava.reduction.registry import needed_settings

# Ids of prompts with the pictures that their -200s are: two in a turn, none, first and last word, in a second turn, in
# both turns. The third ends with its image, so it asks nothing.
PROMPTS = {
    (1, 5, -200, 6, 7, -200, 8, 9): (0, 1),
    (1, 12, 13, 9): (),
    (-200, 4, 11, 3, -200): (2, 1),
    (1, 14, 3, 17, 2, 5, -200, 6, 10, 9): (3,),
    (1, 5, -200, 6, 15, 9, 18, 2, 5, -200, 19, 9): (0, 2),
}
NEAR = {"atol": 1e-4, "rtol": 0.0}
GREEDY: dict[str, Any] = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "max_new_tokens": 2}
LOGITS: dict[str, Any] = {"output_logits": True, "return_dict_in_generate": True}
EDGE = 32  # pixels of a view, of 8 x 8 patches
PINPOINTS = [[EDGE, 2 * EDGE], [2 * EDGE, EDGE], [2 * EDGE, 2 * EDGE]]
KINDS = {"one view": 0, "several views": 2}  # with the tiles along each side of the largest picture
SIZES = {"one view": [(EDGE, EDGE)] * 4, "several views": [(64, 64), (28, 64), (50, 40), (32, 90)]}
VIEWS = {"one view": (1, 1, 1, 1), "several views": (5, 3, 5, 3)}


class Said(NamedTuple):
    """What a row said: logits (new, V) and ids (new,)."""

    logits: torch.Tensor
    ids: torch.Tensor


class Talks:
    """The prompts with their pictures under one method, and what each says alone."""

    def __init__(self, model: LlavaLlamaForCausalLM, kind: str, method: Reduction) -> None:
        self.model, self.method, self.sizes = model, method, SIZES[kind]
        draw = torch.Generator().manual_seed(0)
        self.pixels = [torch.randn(views, 3, EDGE, EDGE, generator=draw) for views in VIEWS[kind]]
        # A method that reads the question before the LLM refuses a prompt that ends with its image.
        more = (9,) if method.question_at_encoder else ()
        self.ids = [torch.tensor(ids + more if ids[-1] < 0 else ids) for ids in PROMPTS]
        self.shown: list[list[int | None]] = [list(of) for of in PROMPTS.values()]
        self.alone = [self.say(ids[None], shown)[1][0] for ids, shown in zip(self.ids, self.shown)]

    def images(self, shown: list[int | None]) -> dict[str, Any]:
        """Arguments for pictures by their numbers; None: no picture, as it may stand in a list."""
        sizes = [None if at is None else self.sizes[at] for at in shown]
        pixels = [None if at is None else self.pixels[at] for at in shown]
        return {"images": pixels or None, "image_sizes": sizes or None}

    def say(self, ids: torch.Tensor, shown: list[int | None], **more: Any) -> tuple[Any, list[Said]]:
        got = self.model.generate(ids, **self.images(shown), reduction=self.method, **GREEDY, **LOGITS, **more)
        return got, rows(got)

    def together(self, side: str = "left") -> dict[str, torch.Tensor]:
        """Ids and mask of all prompts."""
        width, pad = max(map(len, self.ids)), torch.nn.functional.pad
        gaps = [(width - len(row), 0) if side == "left" else (0, width - len(row)) for row in self.ids]
        mask = [pad(torch.ones_like(row), gap) for row, gap in zip(self.ids, gaps)]
        return {
            "ids": torch.stack([pad(row, gap) for row, gap in zip(self.ids, gaps)]),
            "attention_mask": torch.stack(mask),
        }

    def all_shown(self, filler: Any = ()) -> list[int | None]:
        """The pictures of all prompts; `filler` stands for a prompt without one."""
        return list(itertools.chain.from_iterable(of or filler for of in self.shown))


def rows(output: Any) -> list[Said]:
    return [Said(*row) for row in zip(torch.stack(output.logits, dim=1), output.sequences)]


def same(got: list[Said], wanted: list[Said]) -> None:
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one.logits, other.logits, **NEAR)
        assert torch.equal(one.ids, other.ids)


def scheduled(name: str, model: LlavaLlamaForCausalLM) -> Reduction:
    """A method at a third of all tokens, or at its defaults where it takes no budget."""
    kind, geometry = method_class(name), model.geometry
    try:
        return kind.from_budget(geometry.most_tokens // 3, geometry)
    except InputError:
        assert not needed_settings(kind), f"'{name}' has no schedule for a third of {geometry.most_tokens} tokens"
        return kind()


@pytest.fixture(scope="module")
def models() -> dict[str, LlavaLlamaForCausalLM]:
    """With a tokenizer and a text tower, for methods that read the question before the LLM."""
    sizes = {"layers": 6, "width": 32, "intermediate": 32, "heads": 2, "vocabulary": 20}
    sizes |= {"vision_layers": 10, "vision_width": 32, "vision_heads": 2, "image_size": EDGE, "patch_size": 4}
    made = {kind: random_model(Shape(**sizes, grid=grid), "cpu", torch.float32) for kind, grid in KINDS.items()}
    made["several views"].config.image_grid_pinpoints = PINPOINTS
    return made


def combinations() -> list[Any]:
    """Every method with one view; with several, those that stand for the others first, the others as slow tests."""
    first = ("none", "visiondrop", "visionzip", "pyramiddrop", "fastervlm")
    slow = [name for name in available() if name not in first]
    several = [pytest.param(("several views", name), marks=pytest.mark.slow) for name in slow]
    return [*(("one view", name) for name in available()), *(("several views", name) for name in first), *several]


@pytest.fixture(scope="module", params=combinations(), ids=" ".join)
def talks(models: dict[str, LlavaLlamaForCausalLM], request: pytest.FixtureRequest) -> Talks:
    kind, name = request.param
    return Talks(models[kind], kind, scheduled(name, models[kind]))


@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_of_a_batch_are_as_they_are_alone(talks: Talks, side: str) -> None:
    same(talks.say(**talks.together(side), shown=talks.all_shown())[1], talks.alone)


def test_an_image_that_llava_gives_a_prompt_of_text_changes_nothing(talks: Talks) -> None:
    same(talks.say(**talks.together(), shown=talks.all_shown([2]))[1], talks.alone)


def test_without_a_cache_it_is_the_same(talks: Talks) -> None:
    if talks.method.reads_question:
        pytest.skip("run anew after each token, it would read another question")
    same(talks.say(**talks.together(), shown=talks.all_shown(), use_cache=False)[1], talks.alone)


def test_what_comes_before_the_last_image_is_shared(talks: Talks) -> None:
    seen, order = (0, 3, 4), (4, 1, 0, 3, 0)
    shown = talks.images([at for row in seen for at in talks.shown[row]])
    made = talks.model.encode_prefixes([talks.ids[row] for row in seen], **shown, reduction=talks.method)
    prefixes = dict(zip(seen, made))
    got = talks.model.ask([prefixes.get(row) for row in order], [talks.ids[row] for row in order], **GREEDY, **LOGITS)
    same(rows(got), [talks.alone[row] for row in order])


def test_every_image_is_reduced_by_itself_and_followed_through_the_stages(talks: Talks) -> None:
    """In a batch each has the counts that it has alone; of two in a row the first is chosen as if no other came."""
    batch, trace = talks.together(), Trace()
    with torch.no_grad():
        talks.model(batch["ids"], batch["attention_mask"], **talks.images(talks.all_shown()), reduction=talks.method,
                    trace=trace)  # fmt: skip
        lone = {at: Trace() for at in range(4)}
        for at, own in lone.items():
            talks.model(torch.tensor([[1, 5, -200, 6]]), **talks.images([at]), reduction=talks.method, trace=own)
    assert trace.layout is not None and len(trace.stages) == len(talks.method.layers)
    if talks.method.question_at_encoder:
        return  # how much padding is among what it keeps, the question decides
    for number, at in enumerate(talks.all_shown()):
        assert at is not None and lone[at].layout is not None
        assert trace.layout.spans[number].length == lone[at].layout.spans[0].length
        for stage, own in zip(trace.stages, lone[at].stages, strict=True):
            count = own.selection.kept_counts[0]
            assert stage.after.spans[number].length == own.after.spans[0].length
            assert stage.selection.kept_counts[number] == count
            if number == 0 and not talks.method.reads_question:
                assert stage.selection.kept[0, :count].tolist() == own.selection.kept[0, :count].tolist()


def second_turn(talks: Talks, first: Any, more: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask of the batch with what was said and a turn more."""
    batch = talks.together()
    ids = torch.cat([batch["ids"], first.sequences, torch.tensor(more).expand(len(talks.ids), -1)], dim=1)
    gap = ids.shape[1] - batch["ids"].shape[1]
    return ids, torch.nn.functional.pad(batch["attention_mask"], (0, gap), value=1)


def test_a_turn_of_text_goes_on_from_the_cache(talks: Talks) -> None:
    """As the whole conversation anew, unless the method reads the question: then the first turn's choice stays."""
    wanted: list[Said] = []
    for shown in (talks.all_shown([None]), []):  # those of the whole conversation, or none: all are in the cache
        first, _ = talks.say(**talks.together(), shown=talks.all_shown())
        ids, mask = second_turn(talks, first, [2, 5, 16, 9])
        _, got = talks.say(ids, shown, attention_mask=mask, past_key_values=first.past_key_values)
        if talks.method.reads_question:
            assert all(torch.isfinite(row.logits).all() for row in got)
            continue
        wanted = wanted or talks.say(ids, talks.all_shown(), attention_mask=mask)[1]
        same(got, wanted)


@pytest.mark.parametrize("form", ["all", "all and fillers", "the new ones"])
def test_a_turn_with_a_new_image_goes_on_from_the_cache_or_is_refused(talks: Talks, form: str) -> None:
    first, _ = talks.say(**talks.together(), shown=talks.all_shown())
    ids, mask = second_turn(talks, first, [2, 5, -200, 16, 9])
    whole = [at for of in talks.shown for at in [*of, 3]]
    shown = {
        "all": whole,
        "all and fillers": [at for of in talks.shown for at in [*of, None, 3]],
        "the new ones": [3] * len(talks.shown),
    }[form]
    arguments = {"attention_mask": mask, "past_key_values": first.past_key_values}
    if talks.method.layers:
        with pytest.raises(InputError, match="takes no new image with a method that drops inside the LLM: got 5"):
            talks.say(ids, shown, **arguments)
        return
    _, got = talks.say(ids, shown, **arguments)
    if talks.method.reads_question:
        assert all(torch.isfinite(row.logits).all() for row in got)
    else:
        same(got, talks.say(ids, whole, attention_mask=mask)[1])
