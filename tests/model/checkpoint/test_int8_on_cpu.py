"""8-bit matrices on a CPU: the products of bitsandbytes' numbers, in every dtype, for few rows and for many."""

import copy

import pytest
import torch

pytest.importorskip("bitsandbytes")

import bitsandbytes as bnb
from checkpoints import SHAPES, answer, load

from llava.model.checkpoint import int8_on_cpu
from llava.model.checkpoint.int8_on_cpu import FEW, Int8OnCpu, multiply_by_torch, product

# Relative to the largest number: what rounding the result, and in 16 bits the scale, costs.
LIMITS = {torch.float32: 1e-6, torch.bfloat16: 1.5e-2, torch.float16: 2e-3}


def quantised(columns: int, rows: int, bias: bool = False) -> tuple[torch.nn.Module, torch.Tensor]:
    """A module whose only matrix bitsandbytes has quantised, and that matrix as numbers (rows, columns)."""
    torch.manual_seed(0)
    linear = bnb.nn.Linear8bitLt(columns, rows, bias=bias, has_fp16_weights=False, threshold=6.0)
    linear.weight = bnb.nn.Int8Params(torch.randn(rows, columns), requires_grad=False, has_fp16_weights=False)
    model = torch.nn.Sequential(linear.to("cpu")).eval().requires_grad_(False)
    return model, linear.weight.CB.float() * linear.weight.SCB[:, None] / 127


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (1, FEW), (1, FEW + 1), (3, 30)])
def test_the_product_is_that_of_the_numbers(
    dtype: torch.dtype, bias: bool, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In several pieces, the last of them shorter."""
    model, matrix = quantised(64, 50, bias)
    added = model[0].bias
    multiply_by_torch(model)
    monkeypatch.setattr(int8_on_cpu, "PIECE", 64 * dtype.itemsize * 12)
    x = torch.randn(*shape, 64).to(dtype)
    with torch.inference_mode():
        got, wanted = model(x), torch.nn.functional.linear(x.float(), matrix, added)
    assert got.dtype == dtype and got.shape == (*shape, 50)
    assert (got.float() - wanted).abs().max() < LIMITS[dtype] * wanted.abs().max()


def test_float16_does_not_overflow_before_it_is_scaled() -> None:
    numbers, scale = torch.full((4, 256), 127, dtype=torch.int8), torch.full((4,), 1e-3, dtype=torch.float16)
    got = product(torch.full((1, 256), 10.0, dtype=torch.float16), numbers, scale)
    assert got.tolist() == [pytest.approx([325.1] * 4, rel=2e-3)]


def test_numbers_are_shared_and_saved_as_before() -> None:
    model, _ = quantised(64, 32, bias=True)
    held = model[0]
    before = {name: tensor.clone() for name, tensor in held.state_dict().items()}
    multiply_by_torch(model)
    made = model[0]
    assert isinstance(made, Int8OnCpu) and made.numbers.data_ptr() == held.weight.data_ptr()
    model(torch.randn(2, 64))
    after = made.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[name], before[name]) for name in before)
    multiply_by_torch(model)
    assert model[0] is made
    again = copy.deepcopy(model)
    x = torch.randn(2, 64)
    assert torch.equal(again(x), model(x))


def test_an_exchanged_weight_is_followed() -> None:
    """PEFT merges an adapter by putting another weight in the place of the first."""
    model, matrix = quantised(64, 32)
    multiply_by_torch(model)
    model[0].weight = bnb.nn.Int8Params(2 * matrix, requires_grad=False, has_fp16_weights=False).to("cpu")
    x = torch.randn(2, 64)
    torch.testing.assert_close(model(x), 2 * x @ matrix.T, rtol=1e-2, atol=1e-1)


def test_gradients_go_the_way_of_bitsandbytes() -> None:
    """It alone knows the way back; and what was asked that way can be asked without afterwards."""
    model, matrix = quantised(64, 32)
    multiply_by_torch(model)
    x = torch.randn(3, 64, requires_grad=True)
    model(x).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, matrix.sum(dim=0).expand(3, -1), rtol=2e-2, atol=2e-2)
    with torch.no_grad():
        torch.testing.assert_close(model(x), x @ matrix.T, rtol=1e-5, atol=1e-5)


def test_what_moves_between_devices_is_left_to_bitsandbytes() -> None:
    model, _ = quantised(64, 32)
    model[0]._hf_hook = object()
    multiply_by_torch(model)
    assert type(model[0]) is bnb.nn.Linear8bitLt


def test_it_is_what_an_inductor_compiles() -> None:
    """A decoding step is compiled without a break (`--compile`): only traced here, nothing is compiled."""
    model, _ = quantised(64, 32)
    multiply_by_torch(model)
    traced = torch.compile(model, fullgraph=True, backend="eager")
    x = torch.randn(1, 64).bfloat16()
    with torch.inference_mode():
        assert torch.equal(traced(x), model(x))


def test_every_8_bit_matrix_of_a_loaded_model_is_one() -> None:
    """And answers are those of its numbers in float32: nothing but the matrices is rounded."""
    loaded, same = load(SHAPES, load_8bit=True), load(SHAPES)
    matrices = {name: module for name, module in loaded.model.named_modules() if isinstance(module, Int8OnCpu)}
    assert len(matrices) == 8 * 7
    for name, module in matrices.items():
        same.model.get_submodule(name).weight.data = module.numbers.float() * module.scale[:, None]
    got, wanted = answer(loaded), answer(same)
    assert (got - wanted).abs().max() < 1e-4 * wanted.abs().max()
