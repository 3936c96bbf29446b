"""The methods that nobody's outputs were recorded of, through the whole model, against plain slow arithmetic.

PruneSID, ToMe and MMTok before the LLM, V2Drop and VTW inside it: encoder, projector and decoder are computed here one
head and one token at a time from the weights, with the rule written as its description reads.
"""

from collections.abc import Callable
from math import ceil, log, sqrt
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from llava.model.language_model.llava_llama import LlavaConfig, LlavaLlamaForCausalLM
from llava.model.question import give_tokenizer
from llava.reduction import Reduction, create

SIDE, PATCH, BEFORE = 6, 4, 2  # patches on a side, pixels of one, tokens before the picture
PROMPT = [1, 5, -200, 7, 3, 9, 4, 12]
NEAR = {"atol": 1e-4, "rtol": 0.0}
Keep = Callable[[int, torch.Tensor, torch.Tensor], list[int] | None]


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


def linear(layer: Any, values: torch.Tensor) -> torch.Tensor:
    return values @ layer.weight.T + (0 if layer.bias is None else layer.bias)


def layer_norm(layer: Any, values: torch.Tensor) -> torch.Tensor:
    centred = values - values.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + layer.eps).sqrt() * layer.weight + layer.bias


def rms_norm(layer: Any, values: torch.Tensor) -> torch.Tensor:
    return values / (values.pow(2).mean(-1, keepdim=True) + layer.variance_epsilon).sqrt() * layer.weight


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))


def merged(hidden: torch.Tensor, sizes: list[int], keys: torch.Tensor, pairs: int) -> tuple[torch.Tensor, list[int]]:
    """ToMe's step over (t, D): the even tokens that stay, then the odd ones with what joined them."""
    even, odd = range(0, len(hidden), 2), range(1, len(hidden), 2)
    nearest = {a: max(odd, key=lambda b, a=a: cosine(keys[a], keys[b])) for a in even if a}
    going = sorted(nearest, key=lambda a: -cosine(keys[a], keys[nearest[a]]))[:pairs]
    tokens, counts = [hidden[a] for a in even if a not in going], [sizes[a] for a in even if a not in going]
    for b in odd:
        members = [b, *(a for a in going if nearest[a] == b)]
        counts.append(sum(sizes[at] for at in members))
        tokens.append(sum(sizes[at] * hidden[at] for at in members) / counts[-1])
    return torch.stack(tokens), counts


def encoded(
    model: Any, pixels: torch.Tensor, plan: tuple[int, ...] = (0, 0, 0, 0)
) -> tuple[torch.Tensor, torch.Tensor]:
    """(t, D) that leave the encoder, [CLS] first, and (t,) what [CLS] gave in the last layer, heads added up.

    Args:
        plan: pairs that ToMe merges in each layer.
    """
    tower = model.get_vision_tower().vision_tower
    squares = pixels[0].unfold(1, PATCH, PATCH).unfold(2, PATCH, PATCH).permute(1, 2, 0, 3, 4).flatten(2).flatten(0, 1)
    patches = squares @ tower.embeddings.patch_embedding.weight.flatten(1).T
    hidden = torch.cat([tower.embeddings.class_embedding[None], patches]) + tower.embeddings.position_embedding.weight
    hidden, sizes, given = layer_norm(tower.pre_layrnorm, hidden), [1] * (1 + SIDE**2), torch.zeros(0)
    for layer, pairs in zip(tower.encoder.layers, plan):
        entering, own = layer_norm(layer.layer_norm1, hidden), layer.self_attn
        queries, keys, values = (
            linear(part, entering).split(8, dim=1) for part in (own.q_proj, own.k_proj, own.v_proj)
        )
        weight = torch.tensor([log(size) for size in sizes])
        rows = [(q @ k.T / sqrt(8) + weight).softmax(-1) for q, k in zip(queries, keys)]
        given = sum(row[0] for row in rows)
        hidden = hidden + linear(own.out_proj, torch.cat([row @ v for row, v in zip(rows, values)], dim=1))
        if pairs:
            hidden, sizes = merged(hidden, sizes, sum(keys) / len(keys), pairs)
        wide = linear(layer.mlp.fc1, layer_norm(layer.layer_norm2, hidden))
        hidden = hidden + linear(layer.mlp.fc2, wide * torch.sigmoid(1.702 * wide))
    return hidden, given


def turned(values: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """RoPE over (t, 8) of one head."""
    angles = positions[:, None] * 10000.0 ** (-torch.arange(4) / 4)
    one, other = values[:, :4], values[:, 4:]
    return torch.cat([one * angles.cos() - other * angles.sin(), other * angles.cos() + one * angles.sin()], dim=1)


def answered(model: Any, image: torch.Tensor, keep: Keep = lambda *_: None, renumber: bool = True) -> torch.Tensor:
    """(V,) the last logits of `PROMPT` with (n, D) image tokens.

    Args:
        keep: from the number of a layer, the image tokens that enter it and those as they entered the one before, which
            stay; None: all.
        renumber: positions after a drop are 0, 1, ...
    """
    language, words = model.get_model(), model.get_model().embed_tokens.weight
    hidden = torch.cat([words[PROMPT[:BEFORE]], image, words[PROMPT[BEFORE + 1 :]]])
    positions, count, entered = torch.arange(len(hidden)), len(image), hidden
    for number, layer in enumerate(language.layers):
        span = slice(BEFORE, BEFORE + count)
        left = keep(number, hidden[span], entered[span])
        if left is not None:
            places = [*range(BEFORE), *(BEFORE + at for at in left), *range(BEFORE + count, len(hidden))]
            hidden, count = hidden[places], len(left)
            positions = torch.arange(len(hidden)) if renumber else positions[places]
        entered, own = hidden, layer.self_attn
        values = rms_norm(layer.input_layernorm, hidden)
        queries, keys, seen = (linear(part, values).split(8, dim=1) for part in (own.q_proj, own.k_proj, own.v_proj))
        later = torch.ones(len(hidden), len(hidden)).triu(1).bool()
        rows = [turned(q, positions) @ turned(k, positions).T / sqrt(8) for q, k in zip(queries, keys)]
        mixed = [row.masked_fill(later, -torch.inf).softmax(-1) @ v for row, v in zip(rows, seen)]
        hidden = hidden + linear(own.o_proj, torch.cat(mixed, dim=1))
        values = rms_norm(layer.post_attention_layernorm, hidden)
        gate = linear(layer.mlp.gate_proj, values)
        hidden = hidden + linear(layer.mlp.down_proj, gate * torch.sigmoid(gate) * linear(layer.mlp.up_proj, values))
    return linear(model.lm_head, rms_norm(language.norm, hidden[-1]))


def projected(model: Any, values: torch.Tensor) -> torch.Tensor:
    first, _, second = model.get_model().mm_projector
    inner = linear(first, values)
    return linear(second, inner * (1 + torch.erf(inner / sqrt(2))) / 2)


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
