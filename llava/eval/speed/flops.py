"""Floating point operations of whole answers by counting, for what a speed-up could be at best.

A multiply-add counts as two. Encoder, projector, decoder layers and head are counted; norms, softmax and the choice of
tokens are not. Only real tokens count, padding does not.
"""

from dataclasses import dataclass
from typing import Any

from llava.reduction import Reduction
from llava.reduction.schedule import DecoderShape, layers_per_stage


@dataclass(frozen=True)
class Counted:
    """Operations of the steps of an answer.

    Attributes:
        image: encoder and projector over one image.
        prefix: decoder layers over the prompt up to its last image token.
        question: the layers over the question after it, and the head at its last token.
        decoding: the layers and the head for the new tokens after the first.
    """

    image: int
    prefix: int
    question: int
    decoding: int

    def per_question(self, questions_per_image: int = 1) -> float:
        """Of one answer where the work on an image is shared by so many questions."""
        return (self.image + self.prefix) / questions_per_image + self.question + self.decoding


def image_flops(model: Any, method: Reduction) -> int:
    """The vision encoder up to the selected layer, and the projector over what is kept, for the largest image.

    LLaVA-NeXT's newlines are parameters of the LLM's width: nothing projects them.
    """
    tower = model.get_vision_tower()
    config, patches = tower.config, tower.num_patches
    tokens, width = patches + int(model.geometry.has_cls), config.hidden_size
    embedding = 2 * patches * 3 * config.patch_size**2 * width
    per_layer = 2 * tokens * (4 * width**2 + 2 * width * config.intermediate_size) + 4 * tokens**2 * width
    linear = sum(p.numel() for p in model.get_model().mm_projector.parameters() if p.ndim == 2)
    views = model.geometry.views
    projected = min(method.tokens_per_stage(model.geometry)[0], views * tokens)
    return views * tower.passes * (embedding + tower.layers_to_run * per_layer) + 2 * projected * linear


def count(model: Any, method: Reduction, before: int, after: int, new_tokens: int) -> Counted:
    """Operations of an answer of `new_tokens` to a question of `after` tokens behind `before` tokens and one image."""
    shape, geometry = DecoderShape.of(model.config), model.geometry
    head = 2 * model.config.hidden_size * model.config.vocab_size
    stages = list(zip(layers_per_stage(method, geometry.layers), method.tokens_per_stage(geometry)))

    def layers(tokens: int, cached: int) -> int:
        """Over `tokens` that come after a prefix and `cached` more."""
        return sum(run * shape.layer_flops(tokens, before + image + cached) for run, image in stages)

    return Counted(
        image=image_flops(model, method),
        prefix=sum(run * shape.layer_flops(before + image) for run, image in stages),
        question=layers(after, 0) + head,
        decoding=sum(layers(1, after + past) + head for past in range(new_tokens - 1)),
    )
