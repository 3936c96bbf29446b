"""What lies in a checkpoint: found, judged before anything is made of it, and read as data.

Layouts: `docs/checkpoints.md`, LLaVA's model zoo.
"""

from llava.model.checkpoint.config import read_config
from llava.model.checkpoint.folder import check_folder, first_line
from llava.model.checkpoint.quantized import quantization

__all__ = ["check_folder", "first_line", "quantization", "read_config"]
