"""HiPrune and VScan as published for Qwen, chosen once more one token at a time."""

from typing import Any

import pytest
import torch
from encoders_by_hand import received_by_units
from tiny_hf import MODELS, inputs

import llava.hf
from llava.model.trace import Trace
from llava.reduction.rules.vscan import vscan_kept_of_any_size

QWEN = ["qwen2", "qwen2_5", "qwen3"]
# Of four blocks; Qwen2.5-VL's second and fourth look at whole pictures.
MIDDLE = {"qwen2": 1, "qwen2_5": 1, "qwen3": 1}
EARLY = {"qwen2": 0, "qwen2_5": 1, "qwen3": 0}


def ranked(scores: list[float], among: Any = None) -> list[int]:
    """Numbers by falling score, the earlier first on a tie."""
    among = range(len(scores)) if among is None else among
    return sorted(among, key=lambda number: (-scores[number], number))


def features(model: Any, kept: list[int], made: Any) -> torch.Tensor:
    return made.pooler_output[0][kept]


@pytest.mark.parametrize("name", QWEN)
@pytest.mark.parametrize("picture", [0, 1, 3])
@torch.no_grad()
def test_hiprune(name: str, picture: int) -> None:
    """A third of the tokens: anchors of the middle block and their neighbours, then the last block's."""
    model = MODELS[name]()
    given = inputs(model, [[picture]])
    grid = given["image_grid_thw"][0]
    middle, _, _ = received_by_units(model, given["pixel_values"], grid, MIDDLE[name])
    late, _, made = received_by_units(model, given["pixel_values"], grid, 3)
    total, wide = len(late), int(grid[2]) // 2
    count, anchors = round(0.334 * total), ranked(middle)[: round(0.334 * total * 0.9 / 5)]
    near = {min(max(place + step, 0), total - 1) for place in anchors for step in (-1, 1, -wide, wide)}
    first = [*anchors, *ranked(late, near - set(anchors))]
    kept = sorted([*first, *ranked(late, set(range(total)) - set(first))][:count])
    reduced = llava.hf.reduce(model, "hiprune", retention=0.334, alpha=0.9)
    assert reduced.reduction.object_layer == MIDDLE[name] + 1
    check(reduced, given, features(model, kept, made))


@pytest.mark.parametrize("name", QWEN)
@pytest.mark.parametrize("picture", [0, 1, 3])
@torch.no_grad()
def test_vscan(name: str, picture: int) -> None:
    """Half by windows of 4 x 4 tokens, half by the last block; the others are averaged into those they resemble."""
    model = MODELS[name]()
    given = inputs(model, [[picture]])
    grid = given["image_grid_thw"][0]
    early, _, _ = received_by_units(model, given["pixel_values"], grid, EARLY[name])
    late, _, made = received_by_units(model, given["pixel_values"], grid, 3)
    total, wide = len(late), int(grid[2]) // 2
    count = int(0.5 * total)
    windows: dict[tuple[int, int], list[int]] = {}
    for place in range(total):
        windows.setdefault((place // wide // 4, place % wide // 4), []).append(place)
    each = -(-(count // 2) // len(windows))
    local = ranked(early, [place for own in windows.values() for place in ranked(early, own)[:each]])[: count // 2]
    kept = sorted([*local, *ranked(late, set(range(total)) - set(local))[: count - len(local)]])
    values = made.pooler_output[0]
    joined: dict[int, list[int]] = {place: [place] for place in kept}
    for place in set(range(total)) - set(kept):
        alike = [torch.cosine_similarity(values[place], values[target], dim=0).item() for target in kept]
        joined[kept[alike.index(max(alike))]].append(place)
    reduced = llava.hf.reduce(model, "vscan", visual_token_num=0.5)
    assert reduced.reduction.early_layer == EARLY[name]
    check(reduced, given, torch.stack([values[own].mean(dim=0) for own in joined.values()]))


@torch.no_grad()
def test_deepstack_follows_what_vscan_averages() -> None:
    """What is added after Qwen3-VL's first layer is the mean of the same groups."""
    model = MODELS["qwen3"]()
    given = inputs(model, [[0]])
    _, _, made = received_by_units(model, given["pixel_values"], given["image_grid_thw"][0], 3)
    found: dict[str, torch.Tensor] = {}
    first, second = model.model.language_model.layers[:2]
    hooks = [
        first.register_forward_pre_hook(lambda module, args: found.update(entering=args[0])),
        first.register_forward_hook(lambda module, args, left: found.update(left=left)),
        second.register_forward_pre_hook(lambda module, args: found.update(second=args[0])),
    ]
    llava.hf.reduce(model, "vscan", visual_token_num=0.5)(**given)
    for hook in hooks:
        hook.remove()
    start = int((given["input_ids"][0] == 91).nonzero()[0]) + 1
    tokens = found["entering"][0, start : start + 12]
    added = (found["second"] - found["left"])[0, start : start + 12]
    # Which of the 24 tokens each of the 12 is the mean of, read off the tokens themselves.
    share = torch.linalg.lstsq(made.pooler_output[0].T, tokens.T).solution.T
    layer = made.deepstack_features[0]
    layer = layer if isinstance(layer, torch.Tensor) else layer[0]
    torch.testing.assert_close(added, share @ layer, atol=1e-3, rtol=0)
    assert (share.round(decimals=3).count_nonzero(dim=1) > 1).any()


def check(reduced: Any, given: dict[str, torch.Tensor], wanted: torch.Tensor) -> None:
    """What enters the LLM between the prompt's words."""
    entered: list[torch.Tensor] = []
    layer = reduced.model.language_model.layers[0]
    hook = layer.register_forward_pre_hook(lambda module, args: entered.append(args[0]))
    reduced(**given)
    hook.remove()
    start = int((given["input_ids"][0] == 91).nonzero()[0]) + 1
    assert entered[0].shape[1] == int((given["mm_token_type_ids"] == 0).sum()) + len(wanted)
    torch.testing.assert_close(entered[0][0, start : start + len(wanted)], wanted, atol=1e-5, rtol=0)


@torch.no_grad()
def test_vscan_as_published_ranks_without_rotation() -> None:
    model = MODELS["qwen2_5"]()
    given = inputs(model, [[0]])
    traces = []
    for published in (True, False):
        trace = Trace()
        settings = {"visual_token_num": 12, "layer_list": [2], "image_token_list": [5], "published": published}
        llava.hf.reduce(model, "vscan", **settings)(**given, trace=trace)
        traces.append(trace.stages[0].selection)
    layer, stage = model.model.language_model.layers[2], trace.stages[0]
    normed = layer.input_layernorm(stage.entering)
    heads = [one(normed)[0].unflatten(-1, (-1, 8)) for one in (layer.self_attn.q_proj, layer.self_attn.k_proj)]
    keys = heads[1].repeat_interleave(3, dim=1)
    rows = (torch.einsum("hd,thd->ht", heads[0][-1], keys) / 8**0.5).softmax(dim=-1).mean(dim=0)
    start = int((given["input_ids"][0] == 91).nonzero()[0]) + 1
    own = rows[start : start + 12]
    torch.testing.assert_close(traces[0].scores[0], own, atol=1e-6, rtol=0)
    assert (traces[1].scores[0] - own).abs().max() > 1e-4


def test_windows_of_vscan_as_published_give_more() -> None:
    """5 x 6 tokens are four windows, of 16, 8, 4 and 2; half of 6 is one of each."""
    draw = torch.Generator().manual_seed(0)
    early, late = (torch.rand(2, 30, generator=draw) for _ in range(2))
    released = vscan_kept_of_any_size(early, late, 6, (5, 6), published=True)
    mended = vscan_kept_of_any_size(early, late, 6, (5, 6))
    assert released.shape == (2, 7) and mended.shape == (2, 6)
    for row in range(2):
        best = {max(own, key=lambda place: early[row, place].item()) for own in windows_of(5, 6)}
        assert best <= set(released[row].tolist())


def windows_of(rows: int, cols: int) -> list[list[int]]:
    found: dict[tuple[int, int], list[int]] = {}
    for place in range(rows * cols):
        found.setdefault((place // cols // 4, place % cols // 4), []).append(place)
    return list(found.values())
