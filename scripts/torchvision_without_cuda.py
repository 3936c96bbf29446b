"""Make PyPI's torchvision, a CUDA build, importable beside a CPU build of torch, in the environment that runs this.

vLLM imports torchvision for LLaVA and takes its transforms alone. The build's compiled half does not load without CUDA,
and its Python half then misses operators of that half; to declare them is enough. Only for tests on a CPU.
"""

import sysconfig
from pathlib import Path

HOOK = '''"""See scripts/torchvision_without_cuda.py of VisionDrop."""

import importlib.abc
import sys

OPERATORS = ("nms", "qnms")


class Before(importlib.abc.MetaPathFinder):
    """Declares the operators just before torchvision is imported."""

    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            self.library = torch.library.Library("torchvision", "DEF")
            for operator in OPERATORS:
                self.library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            sys.modules[__name__].library = self.library
        return None


sys.meta_path.insert(0, Before())
'''


def main() -> None:
    """Write the hook and the line that runs it whenever Python starts."""
    folder = Path(sysconfig.get_paths()["purelib"])
    (folder / "declare_torchvision.py").write_text(HOOK)
    (folder / "declare_torchvision.pth").write_text("import declare_torchvision\n")


if __name__ == "__main__":
    main()
