"""Small tables reach a device without waiting for it, everywhere on the way of an answer."""

import ast
from pathlib import Path

import pytest
import torch

import llava
from llava.reduction.sent import sent

ROOMS = ("model", "reduction", "hf", "serve/engine")
FILES = [path for room in ROOMS for path in sorted((Path(llava.__file__).parent / room).rglob("*.py"))]


def waiting_copies(source: str) -> list[int]:
    """Lines on which a tensor is made of host numbers directly on a device."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    made = [call for call in calls if ast.unparse(call.func) in ("torch.tensor", "torch.as_tensor")]
    return [call.lineno for call in made if any(word.arg == "device" for word in call.keywords)]


@pytest.mark.parametrize("values", [[1, 2], [[True], [False]], [0.5], 3])
def test_it_is_the_tensor_that_torch_makes(values: object) -> None:
    made = sent(values, "cpu")
    assert made.dtype == torch.tensor(values).dtype and torch.equal(made, torch.tensor(values))
    assert sent(values, torch.device("cpu"), torch.float64).dtype == torch.float64


def test_nothing_waits_for_the_device_to_take_a_table() -> None:
    assert waiting_copies("x = torch.tensor([1], device=d)\ny = torch.tensor([1])") == [1]
    found = {str(path): lines for path in FILES if (lines := waiting_copies(path.read_text()))}
    assert len(FILES) > 100 and not found
