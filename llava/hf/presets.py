"""Settings as they were published, for `llava.hf.reduce(model, **llava.hf.PRESETS["visionzip 70%"])`."""

from typing import Any

BUDGETS = (("33.3", 0.333), ("22.2", 0.222), ("11.1", 0.111), ("20", 0.2), ("10", 0.1), ("5", 0.05))
# VisionZip's own for Qwen2.5-VL and HiPrune's for Qwen2.5-VL-3B; VScan's 11.1 % is 0.167 of the tokens in the first
# half of the LLM and a third of those in the second, as `retain` shares them out. Then the budgets that VisionDrop's
# paper and those after it report, of 576 tokens and of pictures of any size.
PRESETS: dict[str, dict[str, Any]] = {
    "visionzip 70%": {"method": "visionzip", "dominant": 0.65, "contextual": 0.05},
    "visionzip 50%": {"method": "visionzip", "dominant": 0.45, "contextual": 0.05},
    "hiprune 33.3%": {"method": "hiprune", "retention": 0.334},
    "hiprune 22.2%": {"method": "hiprune", "retention": 0.223},
    "hiprune 11.1%": {"method": "hiprune", "retention": 0.112},
    **{
        f"{method} {percent}%": {"method": method, "retain": share}
        for method in ("visiondrop", "visionzip", "vispruner", "vscan")
        for percent, share in BUDGETS
    },
}
