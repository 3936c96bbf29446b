"""lmms-eval's command line, `python -m lmms_eval`, also where torch has no CUDA and torchvision was built for it.

PyPI has torchvision for CUDA alone. Beside torch without CUDA its own operators cannot be loaded, and its import fails at
the first of them that it describes. Nothing here calls them: those are declared before.
"""

import runpy
import sys

import torch


def declare_operators() -> torch.library.Library | None:
    """Declare what torchvision's import describes, where its own library will not; keep what is returned."""
    if torch.cuda.is_available() or torch.version.cuda is not None:
        return None
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


if __name__ == "__main__":
    kept = declare_operators()
    sys.argv[0] = "lmms-eval"
    runpy.run_module("lmms_eval", run_name="__main__")
