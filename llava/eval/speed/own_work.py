"""What a method adds to an answer: rows and keys it asks for, choosing and merging, in the encoder and in the LLM."""

from dataclasses import replace
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from llava.eval.speed.clock import Work, medians
from llava.eval.speed.latency import OneQuestion
from llava.model.evidence.projected import PictureEvidence, ViewEvidence
from llava.model.language_model.llava_causal_lm import LlavaCausalLM
from llava.reduction import Reduction, name_of
from llava.reduction.schedule import average_tokens


class Operations(TorchDispatchMode):
    """Counts the operations issued while it is entered; views of tensors cost nothing and are left out."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count one operation and do it."""
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


class EncoderStage:
    """The choice of a method before the LLM, for `images` pictures of noise, done again and again.

    Of a method that chooses after the projector the projector's work on what is then dropped is its own, and is in it.
    What merging within the encoder (`tome`) adds or saves is not: it is in the time of the encoder itself.
    """

    def __init__(self, one: OneQuestion, images: int) -> None:
        tower = one.model.get_vision_tower()
        self.model, self.method, self.tower = one.model, one.method, tower
        self.pixels, self.asked = one.pixels.repeat(images, 1, 1, 1), None
        self.views = (len(one.pixels),) * images
        if one.asked is not None:
            self.asked = replace(one.asked, rows=(0,) * images)
        self.seen = tower.see(self.pixels, self.method)

    def __call__(self, _: object = None) -> None:
        """Ask the method once."""
        evidence = self.tower.evidence(self.seen, self.pixels, self.views, self.asked)
        if self.method.after_projector is None:
            self.method.at_encoder(evidence)
            return
        projector = self.model.model.mm_projector
        projected = projector(evidence.values)
        if self.method.after_projector == "view":
            self.method.at_projector(ViewEvidence(projected, evidence))
        else:
            tokens = projected.flatten(0, 1)
            lengths = tuple(count * evidence.lengths[0] for count in self.views)
            self.method.at_projector(PictureEvidence(tokens, lengths, evidence, None))


def measure_own_work(
    model: LlavaCausalLM, methods: list[Reduction], text_tokens: int, images: int, repeats: int, clock: str
) -> list[dict[str, Any]]:
    """A row for every method, times in milliseconds; everything is timed in turn.

    Args:
        images: pictures of the batch that `own_ms_per_image` is about.
    """
    asked = [OneQuestion(model, method, text_tokens, 1) for method in methods]
    alone = [EncoderStage(one, 1) for one in asked]
    works = {"encoder": Work(lambda _: model.get_vision_tower().encode(asked[0].pixels))}
    for at, one in enumerate(asked):
        works[f"{at} prefill"], works[f"{at} late"] = Work(one.prefill), Work(one.drops)
        works[f"{at} early"], works[f"{at} many"] = Work(alone[at]), Work(EncoderStage(one, images))
    times = {name: 1e3 * time for name, time in medians(works, repeats, model.device.type, clock).items()}

    rows = []
    for at, one in enumerate(asked):
        with Operations() as issued:
            alone[at]()
            one.drops()
        early, late, prefill = (times[f"{at} {part}"] for part in ("early", "late", "prefill"))
        rows.append(
            {
                "method": name_of(one.method),
                "tokens": average_tokens(one.method, model.geometry),
                "reads_question": one.method.reads_question,
                "encoder_ms": times["encoder"],
                "prefill_ms": prefill,
                "own_ms": early + late,
                "share": (early + late) / (times["encoder"] + early + prefill),
                "own_ms_per_image": times[f"{at} many"] / images + late,
                "operations": issued.count,
            }
        )
    return rows
