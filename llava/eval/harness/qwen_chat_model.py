"""lmms-eval's `qwen2_5_vl` with a method, in its chat form, which lmms-eval takes unless told `--force_simple`."""

from lmms_eval.models.chat.qwen2_5_vl import Qwen2_5_VL

from llava.eval.harness.qwen_model import Reducing


class VisionDropQwenChat(Reducing, Qwen2_5_VL):
    """As `VisionDropQwen`."""
