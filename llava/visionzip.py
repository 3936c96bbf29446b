"""VisionZip as its users call it: `from llava.visionzip import visionzip`, one line after the model is loaded.

model = visionzip(model, dominant=54, contextual=10)
"""

from typing import Any

from llava.errors import InputError
from llava.reduction import create


def visionzip(model: Any, dominant: int = 191, contextual: int = 30) -> Any:
    """The same model, which from now on keeps `dominant` + `contextual` tokens of each view of an image.

    The same as `model.reduction = reduction.create("visionzip", ...)`: no class is changed, other models go on as they
    were, and another assignment ends it.

    Args:
        model: a LLaVA model of this package, also inside a PEFT model.
        dominant: tokens kept as they are, [CLS] included.
        contextual: tokens that the others are merged into.

    Raises:
        InputError: another model, or counts that do not fit its vision encoder.
    """
    method = create("visionzip", dominant=dominant, contextual=contextual)
    inside = model.get_base_model() if hasattr(model, "get_base_model") else model
    if not isinstance(getattr(type(inside), "reduction", None), property):  # or it would be set and never read
        raise InputError(
            f"visionzip needs a LLaVA model of this package: got a {type(inside).__name__}; load it with "
            f"llava.model.builder.load_pretrained_model"
        )
    inside.reduction = method
    return model
