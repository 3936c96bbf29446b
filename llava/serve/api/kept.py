"""`POST /v1/kept`: what a method keeps of the picture that a chat request is about, drawn and counted.

The request's prompt is run once more with a trace, beside the engine and by itself: a forward pass writes nothing on
the model, and answers are not kept waiting for a drawing.
"""

import base64
import io
from typing import Any

import torch
from PIL import Image

from llava.eval.pictures.canvas import canvas_of
from llava.eval.pictures.kept_figure import MethodRow, figure_of
from llava.eval.pictures.kept_tokens import Stage, stages_of
from llava.model.geometry import image_geometry_of
from llava.model.trace import CountTrace
from llava.reduction import Geometry, Reduction, name_of
from llava.reduction.methods.none import Unreduced
from llava.reduction.schedule import DecoderShape, layers_per_stage, prefill_flops
from llava.serve.engine.request import Request

DOTS = 100  # per inch


@torch.inference_mode()
def kept_of(loaded: Any, request: Request, picture: Image.Image) -> dict[str, Any]:
    """What was kept, as JSON.

    Args:
        loaded: the model with its image processor.
        request: about one picture, ready for the engine.
        picture: that picture, RGB.

    Returns:
        `stages`, each with `layer` (0: the vision encoder), `entering` and `tokens` (counts) and `merged` (tokens that
        others were merged into); `average_tokens` per LLM layer; `text_tokens`; `prefill_flops` of the LLM's layers
        and `unreduced_flops`, both for this picture and prompt; `image`, a PNG in base64.

    Raises:
        InputError: where matplotlib is not installed.
    """
    model, shown = loaded.model, request.pictures[0]
    tower, trace = model.get_vision_tower(), CountTrace()
    model.generate(
        torch.tensor([request.ids], device=model.device), images=[shown.pixels], image_sizes=[shown.size],
        modalities=[shown.modality], reduction=request.reduction, trace=trace, max_new_tokens=1, do_sample=False,
        temperature=None, top_p=None, top_k=None, pad_token_id=loaded.padding,
    )  # fmt: skip
    views = len(shown.pixels) if shown.pixels.ndim == 4 else 1
    stages = stages_of(trace, views, tower.num_patches, tower.select_feature == "cls_patch")
    geometry = image_geometry_of(model.config, tower.config, views, shown.size, shown.modality)
    counts = counted(request.reduction, stages, model.config, geometry, len(request.ids) - 1)
    row = MethodRow(name_of(request.reduction), f"{counts['average_tokens']:.1f} tokens on average", stages)
    canvas = canvas_of(shown.size, model.config, loaded.processor)
    drawn = figure_of(picture, canvas, tower.num_patches_per_side, [row], "")
    return counts | {"image": _png(drawn)}


def counted(
    method: Reduction, stages: list[Stage], config: Any, geometry: Geometry, text_tokens: int
) -> dict[str, Any]:
    """What the stages left, and what the LLM's prefill cost with that and would cost with everything."""
    runs = layers_per_stage(method, geometry.layers)
    counts = [len(stage.tokens) for stage in stages]
    counts += counts[-1:] * (len(runs) - len(counts))  # a method that only looks away drops nothing
    shape = DecoderShape.of(config)
    return {
        "stages": [
            {
                "layer": stage.layer,
                "entering": stage.entering,
                "tokens": len(stage.tokens),
                "merged": sum(bool(token.folded) for token in stage.tokens),
            }
            for stage in stages
        ],
        "average_tokens": sum(run * count for run, count in zip(runs, counts)) / geometry.layers,
        "text_tokens": text_tokens,
        "prefill_flops": sum(run * shape.layer_flops(count + text_tokens) for run, count in zip(runs, counts)),
        "unreduced_flops": prefill_flops(shape, Unreduced(), geometry, text_tokens),
    }


def _png(figure: Any) -> str:
    file = io.BytesIO()
    figure.savefig(file, dpi=DOTS, format="png")
    return base64.b64encode(file.getvalue()).decode()
