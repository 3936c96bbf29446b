"""Tokens counted while a question is answered: any order of rows, several images, beams, as in a prefix."""

from typing import Any

import pytest
import torch
from tiny_models import noise, tiny_model

from llava.model.trace import CountTrace
from llava.reduction import create

PYRAMID = create("pyramiddrop", layer_list=[2, 4, 6], image_token_ratio_list=[0.5, 0.25, 0.125])
DROP = create("visiondrop", dominant=6, contextual=2, layer_list=[2, 4, 6], image_token_list=[[5, 1], [3, 1], [2, 1]])
GREEDY: dict[str, Any] = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "max_new_tokens": 2}


@pytest.mark.parametrize("beams", [1, 3])
def test_a_row_is_counted_under_its_question(beams: int) -> None:
    """16 patches, then 8, 4 and 2 in two layers each; one question has two pictures, one has none."""
    model = tiny_model(side=4, layers=8)
    starts = [torch.tensor([1, 5, -200]), torch.tensor([1, 5, -200, 6, -200])]
    made = model.encode_prefixes(starts, noise(model, 1, 1, 1), reduction=PYRAMID)
    assert [prefix.tokens_per_layer for prefix in made] == [None, None]
    trace = CountTrace()
    asked = [[7, 8, 9], [5, 6], [4]]
    model.ask([made[0], None, made[1]], asked, trace=trace, num_beams=beams, **GREEDY)
    assert trace.tokens([2, 2, 2, 2]) == {0: 7.5, 2: 7.5}
    assert all(stage.entering.numel() == stage.leaving.numel() == 0 for stage in trace.stages)


def test_a_prefix_knows_the_tokens_it_was_computed_with() -> None:
    model = tiny_model(side=4, layers=8)
    starts = [torch.tensor([1, 5, -200]), torch.tensor([1, 5, -200, 6, -200])]
    made = model.encode_prefixes(starts, noise(model, 1, 1, 1), reduction=DROP)
    assert [prefix.tokens_per_layer for prefix in made] == [(8 + 6 + 4 + 3) / 4] * 2
    trace = CountTrace()
    model.ask(made, [[7], [8]], trace=trace, **GREEDY)
    assert trace.layout is not None and not trace.layout.spans and trace.tokens([2, 2, 2, 2]) == {}
