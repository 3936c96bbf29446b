"""The same small model on the CPU and on a device, in float32: answers and choices of every method."""

from typing import Any

import torch

from llava.eval.device.agreement import LIMITS, ask_alone, nearness
from llava.eval.method_cost import all_at_budget
from llava.eval.speed.random_model import Shape, random_model
from llava.eval.speed.throughput import Questions
from llava.reduction import name_of

SMALL = Shape(8, 256, 512, 4, vision_layers=4, vision_width=128, vision_heads=2, image_size=224)
SMALL_BUDGET = 48


def compare_with_cpu(
    device: str, names: list[str], shape: Shape = SMALL, budget: int = SMALL_BUDGET
) -> list[dict[str, Any]]:
    """For each method the largest distance of logits, whether all choices are equal, and whether that is `right`."""
    here, there = (random_model(shape, where, torch.float32) for where in ("cpu", device))
    there.load_state_dict(here.state_dict())
    rows = []
    with torch.backends.cudnn.flags(allow_tf32=False):
        for method in all_at_budget(names, budget, here.geometry):
            wanted, chosen = ask_alone(here, method, Questions(here, 2, 4, 1))
            got, other = ask_alone(there, method, Questions(there, 2, 4, 1))
            apart, _ = nearness(wanted, got.cpu(), torch.float32)
            same = chosen == other
            right = apart <= LIMITS[torch.float32][0] if same else method.fragile
            rows.append({"method": name_of(method), "apart": apart, "choices": same, "right": right})
    return rows
