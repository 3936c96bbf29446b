"""Linear layers get rows that lie together.

Of others, where a weight does not learn, torch makes one product for each block and copies the matrix for it.
"""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from llava.eval.method_cost import at_budget
from llava.eval.speed.random_model import Shape, noise, prompt_ids, random_model
from llava.model.layer_parts import as_rows

GREEDY = {"do_sample": False, "max_new_tokens": 2, "pad_token_id": 0, "eos_token_id": None}


class Blocks(TorchDispatchMode):
    """Notes the shapes of what linear layers are given whose rows do not lie together."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.found = 0, set()

    def __torch_dispatch__(self, function: Any, types: Any, given: tuple = (), named: dict | None = None) -> Any:
        if function is torch.ops.aten.linear.default:
            self.asked += 1
            states = given[0]
            if states.ndim == 3 and states.numel() and states.stride(0) != states.stride(1) * states.shape[1]:
                self.found.add(tuple(states.shape))
        return function(*given, **(named or {}))


@pytest.mark.parametrize("grid", [0, 2])
@pytest.mark.parametrize("name", ["none", "visiondrop", "fastervlm", "fastv", "sparsevlm", "downsample"])
def test_every_layer_takes_its_rows_at_once(name: str, grid: int) -> None:
    """Two prompts in a batch, a prefix and what is asked of it, as inference mode shows them."""
    shape = Shape(8, 64, 128, 4, 2, 32, 2, image_size=112, vocabulary=100, grid=grid)
    model = random_model(shape, "cpu", torch.float32)
    [method], _ = at_budget([name], 100 if grid else 20, model.geometry)
    pixels, sizes = noise(model, 2)
    ids = prompt_ids(12, 100, "cpu")
    with torch.inference_mode(), Blocks() as blocks:
        model.generate(ids.repeat(2, 1), images=pixels, image_sizes=sizes, reduction=method, **GREEDY)
        prefix = model.encode_image(ids, images=pixels[:1], image_sizes=sizes[:1], reduction=method)
        model.ask(prefix, [[5, 6, 7], [5, 6]], **GREEDY)
    assert blocks.asked > 8 * 7 and not blocks.found


@pytest.mark.parametrize("shape", [(1, 4, 6), (3, 4, 6), (2, 4, 5, 6)])
def test_numbers_stay_and_lie_together(shape: tuple[int, ...]) -> None:
    whole = torch.randn(shape)
    for states in (whole, whole[:, -1:], whole[:, :0], whole[:, 1:3]):
        rows = as_rows(states)
        assert torch.equal(rows, states) and rows.stride() == torch.empty(states.shape).stride()
    assert as_rows(whole).data_ptr() == whole.data_ptr()
