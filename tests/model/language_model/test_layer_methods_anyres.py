"""Methods inside the LLM on LLaVA-NeXT's pictures, which differ in tokens: counts are shares of the largest's."""

from typing import Any

import pytest
import torch
from tiny_models import tiny_model

from llava.model.language_model.llava_llama import LlavaLlamaForCausalLM
from llava.model.trace import Trace
from llava.reduction import Reduction, create

EDGE = 16
ANYRES = {"image_aspect_ratio": "anyres", "mm_patch_merge_type": "spatial_unpad"}
GRIDS = [[EDGE, 2 * EDGE], [2 * EDGE, EDGE], [2 * EDGE, 2 * EDGE]]
METHODS: list[tuple[str, dict[str, Any]]] = [
    ("fastv", {"fast_v_attention_rank": 30}),
    ("fastv", {"fast_v_attention_rank": 30, "mode": "mask"}),
    ("dart", {"max_num_trunction": 30}),
    ("dart", {"max_num_trunction": 30, "published": True}),
    ("sparsevlm", {"layer_list": [2, 3, 5], "image_token_list": [40, 20, 8]}),
    ("sparsevlm", {"layer_list": [2, 3, 5], "image_token_list": [40, 20, 8], "release": "2.0", "published": True}),
    ("v2drop", {"layer_list": [1, 3, 5], "keep_ratio_list": [0.5, 0.5, 0.0], "least": 0}),
    ("vtw", {"layer": 3, "remainder": 11}),
]
EACH = pytest.mark.parametrize("method", [create(name, **settings) for name, settings in METHODS], ids=repr)
GREEDY: dict[str, Any] = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "max_new_tokens": 3}
LOGITS = {"output_logits": True, "return_dict_in_generate": True}
# A prompt, and the (width, height) of its picture, which says how many tiles there are: 4, 2, 2.
ROWS = [([1, -200, 7, 3, 9, 5], (32, 32)), ([1, 4, 5, -200, 8, 2], (16, 40)), ([1, -200, 6, 6, 2, 11, 4], (32, 12))]


@pytest.fixture(scope="module")
def model() -> LlavaLlamaForCausalLM:
    torch.manual_seed(2)
    made = tiny_model(EDGE // 4, 6, num_key_value_heads=1, image_grid_pinpoints=GRIDS, **ANYRES)
    for name, parameter in made.named_parameters():
        if parameter.ndim == 2 and "layers" in name:
            parameter.data.mul_(8)
    return made


def asked(rows: list[int]) -> dict[str, Any]:
    width = max(len(ROWS[at][0]) for at in rows)
    ids = torch.tensor([[0] * (width - len(ROWS[at][0])) + ROWS[at][0] for at in rows])
    mask = torch.tensor([[0] * (width - len(ROWS[at][0])) + [1] * len(ROWS[at][0]) for at in rows])
    views = {0: 5, 1: 3, 2: 3}
    pictures = [torch.randn(views[at], 3, EDGE, EDGE, generator=torch.Generator().manual_seed(at)) for at in rows]
    return {"input_ids": ids, "attention_mask": mask, "images": pictures, "image_sizes": [ROWS[at][1] for at in rows]}


@EACH
def test_rows_of_a_batch_answer_as_they_do_alone(model: LlavaLlamaForCausalLM, method: Reduction) -> None:
    together = model.generate(**asked([0, 1, 2]), reduction=method, **GREEDY, **LOGITS)
    for row in range(3):
        alone = model.generate(**asked([row]), reduction=method, **GREEDY, **LOGITS)
        rows = torch.stack([logits[row] for logits in together.logits])
        torch.testing.assert_close(rows, torch.cat(alone.logits), atol=2e-5, rtol=0)


@EACH
def test_the_largest_picture_gets_the_counts_and_a_smaller_one_its_share(
    model: LlavaLlamaForCausalLM, method: Reduction
) -> None:
    trace = Trace()
    model.generate(**asked([0, 1, 2]), reduction=method, trace=trace, **GREEDY)
    counts = [[span.length for span in stage.after.spans] for stage in trace.stages]
    before = [span.length for span in trace.layout.spans]
    assert before[0] == model.geometry.most_tokens == 16 + 8 * 9 and before[1] < before[0] and before[2] < before[0]
    announced = method.tokens_per_stage(model.geometry)[1:]
    assert [row[0] for row in counts] == ([before[0]] if method.masks else announced)
    if not method.masks:
        assert all(row[1] < row[0] or row[0] < 2 for row in counts)
