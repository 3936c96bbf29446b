"""Settings as they were published, for `llava.hf.reduce(model, **llava.hf.PRESETS["visionzip 70%"])`."""

from typing import Any

# VisionZip's own for Qwen2.5-VL; the budgets that VisionDrop's paper and those after it report, of 576 tokens and of
# pictures of any size.
PRESETS: dict[str, dict[str, Any]] = {
    "visionzip 70%": {"method": "visionzip", "dominant": 0.65, "contextual": 0.05},
    "visionzip 50%": {"method": "visionzip", "dominant": 0.45, "contextual": 0.05},
    **{
        f"{method} {percent}%": {"method": method, "retain": share}
        for method in ("visiondrop", "visionzip")
        for percent, share in (("33.3", 0.333), ("22.2", 0.222), ("11.1", 0.111), ("20", 0.2), ("10", 0.1), ("5", 0.05))
    },
}
