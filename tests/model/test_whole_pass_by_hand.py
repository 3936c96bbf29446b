"""The methods that nobody's outputs were recorded of, through the whole model, against plain slow arithmetic.

PruneSID, ToMe and MMTok before the LLM, V2Drop and VTW inside it: encoder, projector and decoder are computed here one
head and one token at a time from the weights, with the rule written as its description reads.
"""

from math import ceil
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from plain_arithmetic import BEFORE, PATCH, PROMPT, SIDE, answered, cosine, encoded, projected

from llava.model.language_model.llava_llama import LlavaConfig, LlavaLlamaForCausalLM
from llava.model.question import give_tokenizer
from llava.reduction import Reduction, create

NEAR = {"atol": 1e-4, "rtol": 0.0}


class Letters:
    """A tokenizer for which every id is a letter."""

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return "".join(chr(97 + number) for number in ids)

    def __call__(self, text: str, add_special_tokens: bool) -> Any:
        return SimpleNamespace(input_ids=[ord(letter) - 97 for letter in text])


@pytest.fixture(scope="module")
def model() -> LlavaLlamaForCausalLM:
    """Five encoder layers, of which four run, and six of the LLM, with weights large enough to tell tokens apart."""
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2}
    vision = sizes | {"num_hidden_layers": 5, "patch_size": PATCH, "image_size": SIDE * PATCH, "projection_dim": 16}
    torch.manual_seed(3)
    config = LlavaConfig(
        **sizes, num_hidden_layers=6, vocab_size=20, mm_vision_tower="random", mm_vision_config=vision,
        mm_hidden_size=16, mm_projector_type="mlp2x_gelu",
    )  # fmt: skip
    made = LlavaLlamaForCausalLM(config).eval()
    for name, parameter in made.named_parameters():
        if parameter.ndim == 2 and "layers" in name:
            parameter.data.mul_(8)
    give_tokenizer(made, Letters())
    return made


@pytest.fixture(params=[0, 1])
def pixels(request: pytest.FixtureRequest) -> torch.Tensor:
    """(1, 3, h, w), one of two pictures."""
    return torch.randn(1, 3, SIDE * PATCH, SIDE * PATCH, generator=torch.Generator().manual_seed(request.param))


def same(model: Any, pixels: torch.Tensor, method: Reduction, wanted: torch.Tensor) -> None:
    got = model(torch.tensor([PROMPT]), images=[pixels[0]], reduction=method).logits[0, -1]
    torch.testing.assert_close(got, wanted, **NEAR)


@torch.no_grad()
def test_without_a_method(model: Any, pixels: torch.Tensor) -> None:
    """Were this wrong, all that follows would be."""
    same(model, pixels, create("none"), answered(model, projected(model, encoded(model, pixels)[0][1:])))


@pytest.mark.parametrize("positions", ["keep", "renumber"])
@pytest.mark.parametrize(
    ("layers", "ratios", "least"),
    [
        ([1, 3, 5], [0.5, 0.5, 0.0], 1),
        ([2, 4], [0.3, 0.4], 1),
        ([3], [0.0], 0),
        ([1, 2, 3, 4], [0.9, 0.7, 0.5, 0.3], 2),
    ],
)
@torch.no_grad()
def test_v2drop(model: Any, pixels: torch.Tensor, layers: list, ratios: list, least: int, positions: str) -> None:
    def keep(number: int, entering: torch.Tensor, before: torch.Tensor) -> list[int] | None:
        if number not in layers:
            return None
        moved = [float((one - other).norm()) for one, other in zip(entering, before)]
        count = min(len(moved), max(least, int(len(moved) * ratios[layers.index(number)])))
        return sorted(sorted(range(len(moved)), key=lambda at: -moved[at])[:count])

    settings: dict[str, Any] = {"layer_list": layers, "keep_ratio_list": ratios, "least": least}
    image = projected(model, encoded(model, pixels)[0][1:])
    wanted = answered(model, image, keep, positions == "renumber")
    same(model, pixels, create("v2drop", **settings, positions=positions), wanted)


@pytest.mark.parametrize("positions", ["keep", "renumber"])
@pytest.mark.parametrize(("layer", "remainder"), [(1, 0), (3, 0), (5, 0), (2, 7), (4, 30)])
@torch.no_grad()
def test_vtw(model: Any, pixels: torch.Tensor, layer: int, remainder: int, positions: str) -> None:
    def keep(number: int, entering: torch.Tensor, before: torch.Tensor) -> list[int] | None:
        if number == layer:
            return [at * len(entering) // remainder for at in range(remainder)]
        return [] if number == layer + 1 else None

    image = projected(model, encoded(model, pixels)[0][1:])
    wanted = answered(model, image, keep, positions == "renumber")
    same(model, pixels, create("vtw", layer=layer, remainder=remainder, positions=positions), wanted)


@pytest.mark.parametrize(
    ("count", "plan"), [(24, (3, 3, 3, 3)), (8, (7, 7, 7, 7)), (3, (12, 12, 6, 3)), (35, (1, 0, 0, 0))]
)
@torch.no_grad()
def test_tome(model: Any, pixels: torch.Tensor, count: int, plan: tuple[int, ...]) -> None:
    """The same number of pairs in each layer, the smallest that comes to it; half of a layer's tokens at the most."""
    method = create("tome", visual_token_num=count)
    assert method.merges(SIDE**2, 4) == plan
    tokens, _ = encoded(model, pixels, plan)
    assert len(tokens) == 1 + count
    same(model, pixels, method, answered(model, projected(model, tokens[1:])))


@pytest.mark.parametrize(("count", "alpha", "warm"), [(5, 0.5, 0.02), (20, 0.5, 0.02), (9, 2.0, 0.1), (36, 0.5, 0.02)])
@torch.no_grad()
def test_mmtok(model: Any, pixels: torch.Tensor, count: int, alpha: float, warm: float) -> None:
    features = encoded(model, pixels)[0][1:]
    image, words = projected(model, features), model.get_model().embed_tokens.weight[PROMPT[BEFORE + 1 :]]
    shares = [torch.tensor([cosine(w, v) / warm for v in image]).softmax(-1) / len(words) for w in words]
    shares += [alpha * torch.tensor([cosine(x, y) / 0.2 for y in features]).softmax(-1) / len(image) for x in features]
    rows, reached, chosen = torch.stack(shares), torch.zeros(len(shares)), list[int]()
    for _ in range(count):
        gains = [float((rows[:, at] - reached).clamp(min=0).sum()) for at in range(len(image))]
        chosen.append(max((at for at in range(len(image)) if at not in chosen), key=lambda at: gains[at]))
        reached = torch.maximum(reached, rows[:, chosen[-1]])
    method = create("mmtok", visual_token_num=count, alpha=alpha, word_temperature=warm)
    same(model, pixels, method, answered(model, image[sorted(chosen)]))


def thinned(features: torch.Tensor, scores: list[float], groups: list[int], count: int) -> list[int]:
    """PruneSID's patches: within each group first those that no better one is too much like."""
    length, strict = len(scores), count / 32
    pairs = [cosine(features[i], features[j]) for i in range(length) for j in range(i + 1, length)]
    limit = strict * sum(pairs) / len(pairs)
    orders, winners = [], []
    for group in range(count // 4):
        left = sorted((at for at in range(length) if groups[at] == group), key=lambda at: -scores[at])
        won: list[int] = []
        lost: list[int] = []
        for at in left:
            (lost if any(cosine(features[at], features[best]) > limit for best in won) else won).append(at)
        orders.append(won + lost)
        winners.append(len(won))
    sizes = [len(order) for order in orders]
    upper = [min(5 * ceil(count / 64), size, own) for size, own in zip(sizes, winners)]
    while sum(upper) < count:
        upper = [min(size, most + 1) for size, most in zip(sizes, upper)]
    lower = [min(1, size) for size in sizes]
    others = count - sum(lower) - 1
    edges = [round(sum(winners[: at + 1]) / sum(winners) * others) for at in range(len(sizes))]
    given = [low + high - edge for low, high, edge in zip(lower, edges, [0, *edges])]
    given = [min(own, most) for own, most in zip(given, upper)]
    for at in sorted(range(len(sizes)), key=lambda at: -winners[at]):
        given[at] += min(upper[at] - given[at], count - 1 - sum(given))
    return [at for order, own in zip(orders, given) for at in order[:own]]


@pytest.mark.parametrize(("count", "seed"), [(8, 0), (13, 0), (13, 5), (30, 2)])
@torch.no_grad()
def test_prunesid(model: Any, pixels: torch.Tensor, count: int, seed: int) -> None:
    """The groups are torch's own decomposition, as released, from a seed."""
    tokens, given = encoded(model, pixels)
    torch.manual_seed(seed)
    _, _, directions = torch.pca_lowrank(tokens[1:].sigmoid().T, q=count // 4)
    groups = directions.abs().argmax(dim=1).tolist()
    order = thinned(tokens[1:], given[1:].tolist(), groups, count)
    wanted = answered(model, projected(model, tokens[[0, *(1 + at for at in order)]]))
    same(model, pixels, create("prunesid", visual_token_num=count, seed=seed), wanted)
