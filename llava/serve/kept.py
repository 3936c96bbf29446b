"""The picture of what was kept of the picture a chat is about."""

from llava.errors import InputError
from llava.eval.pictures.canvas import canvas_of
from llava.eval.pictures.kept_figure import MethodRow, draw
from llava.eval.pictures.kept_tokens import stages_of
from llava.reduction import name_of
from llava.serve.chat import Chat


def write_kept(chat: Chat, path: str) -> str:
    """Write the PNG and say so.

    Raises:
        InputError: before anything was asked about a picture, and for conversations about several.
    """
    if len(chat.pictures) != 1 or chat.trace.layout is None:
        seen = len(chat.pictures) if chat.trace.layout is not None else "none that was asked about"
        raise InputError(f"what was kept is drawn of one picture that was asked about: got {seen}; /reset and /image")
    model = chat.loaded.model
    tower, views = model.get_vision_tower(), chat.pixels[0]
    count = len(views) if views.ndim == 4 else 1
    stages = stages_of(chat.trace, count, tower.num_patches, tower.select_feature == "cls_patch")
    lines = ", ".join(str(len(stage.tokens)) for stage in stages)
    row = MethodRow(name_of(chat.reduction), f"{lines} tokens", stages)
    canvas = canvas_of(chat.pictures[0].size, model.config, chat.loaded.processor)
    draw(chat.pictures[0], canvas, tower.num_patches_per_side, [row], chat.last_message, path)
    return f"{lines} image tokens; written to {path}"
