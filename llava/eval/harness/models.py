"""What the entry point in the group `lmms_eval.models` names: models by which lmms-eval's command line reduces.

lmms-eval calls `manifests` when it starts. Nobody else does, and the models are imported when one is asked for.
"""

from typing import Any

# Name, and the class of its simple and of its chat form in this room.
MODELS = {
    "visiondrop": ("llava_model.VisionDrop", None),
    "visiondrop_qwen2_5_vl": ("qwen_model.VisionDropQwen", "qwen_chat_model.VisionDropQwenChat"),
}


def manifests() -> list[Any]:
    """One of lmms-eval's manifests for each of `MODELS`."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return [
        ModelManifest(model_id=name, simple_class_path=_path(simple), chat_class_path=_path(chat))
        for name, (simple, chat) in MODELS.items()
    ]


def _path(name: str | None) -> str | None:
    return None if name is None else f"{__package__}.{name}"
