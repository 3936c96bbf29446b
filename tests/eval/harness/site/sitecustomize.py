"""For programs that `make test-harness` starts: a torchvision that was built for CUDA can be imported without CUDA.

PyPI has no other. Beside a torch for processors its own operators cannot be loaded, and its import fails at the first
of those that it describes. Nothing here calls them; here they are declared before. Python reads this file at its start,
if its folder is in PYTHONPATH.
"""

import importlib.abc
import importlib.metadata
import sys
from typing import Any

DESCRIBED = ("nms", "qnms")


class Declaring(importlib.abc.MetaPathFinder):
    """Finds nothing; declares what is missing before torchvision is imported."""

    kept: list[Any] = []

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        """Python's question where a module is."""
        if fullname != "torchvision" or self.kept or not _is_for_cuda():
            return
        import torch

        if torch.version.cuda is None:
            self.kept.append(torch.library.Library("torchvision", "DEF"))
            for name in DESCRIBED:
                self.kept[0].define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def _is_for_cuda() -> bool:
    try:
        files = importlib.metadata.files("torchvision")
    except importlib.metadata.PackageNotFoundError:
        return False
    return any("libcudart" in file.name for file in files or ())


sys.meta_path.insert(0, Declaring())
