"""Which of torch's attention kernels run on a GPU: all but the one that prepares itself anew for every length."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import torch

Given = ParamSpec("Given")
Result = TypeVar("Result")


@contextmanager
def without_cudnn() -> Iterator[None]:
    """While entered, scaled dot products on a GPU are not cuDNN's, unless no other kernel of torch's is allowed.

    torch prefers cuDNN's on Hopper, and that makes a plan for each new shape, which on an H200 takes many times as long
    as the product. While an answer grows, every token has a length of its own, at every stage.
    """
    kernels = torch.backends.cuda
    others = kernels.flash_sdp_enabled() or kernels.mem_efficient_sdp_enabled() or kernels.math_sdp_enabled()
    if not torch.cuda.is_initialized() or not kernels.cudnn_sdp_enabled() or not others:
        yield
        return
    kernels.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        kernels.enable_cudnn_sdp(True)


def runs_without_cudnn(call: Callable[Given, Result]) -> Callable[Given, Result]:
    """`without_cudnn` around every call."""

    @functools.wraps(call)
    def run(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        with without_cudnn():
            return call(*args, **kwargs)

    return run
