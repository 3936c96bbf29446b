"""Let chosen words of the question rank the image tokens inside the LLM, and fold the best of the others into a few.

SparseVLM, arXiv 2410.04417 (ICML 2025); released as Gumpest/SparseVLMs, language_model/modelling_sparse_llama.py. The
words that rate are chosen once, from the embeddings. At a few layers the layer's own attention from those words ranks
image tokens, as they leave that layer; the dropped ones' best third is clustered into a few tokens that follow the
kept. It reads the question.

Three versions were released. `1.5` (the default here and there) has lists of counts; `1.0` takes its counts from the
rank of the raters' attention, `scale` * rank + `bias`, so they vary by question, and reads that rank from the device;
`2.0` (SparseVLM+) divides the attention by what rotary embedding alone would make of it, listens to the 14 heads that
then look at the image most, folds nothing and keeps positions, where the others renumber.

The published lists for 192, 128, 96 and 64 tokens (`retained_tokens`) come to averages of 206.5, 145.4, 114.1 and 82.3
(2.0: 206.8, 144.1, 113.9, 81.8), since three layers see all tokens and merged ones come on top. The released code draws
unseeded noise to break ties of density; and one token goes at each stage whatever is asked for. With `published` it is
so, with a seed; by default the earlier token is the denser one, and an image that has no more than the count is left as
it is (but in 1.0).
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from llava.errors import InputError
from llava.reduction.base import Geometry, Reduction
from llava.reduction.budgets import impossible, scaled_layers, solved, too_shallow
from llava.reduction.checks import checked_counts, checked_layers, checked_number, switch, whole_number
from llava.reduction.layer_evidence import LayerEvidence
from llava.reduction.merging import Merged
from llava.reduction.paper import PaperSettings, counted
from llava.reduction.positions import KEEP, RENUMBER, position_policy
from llava.reduction.published import published_setting
from llava.reduction.rules.sparsevlm import (
    best_heads,
    cluster_means,
    density_peaks,
    kept_and_recycled,
    ranks,
    rated,
    raters,
    recycled_counts,
)
from llava.reduction.schedule import average_tokens
from llava.reduction.selection import Selection
from llava.reduction.stages import keep_top, own_counts

# After so many of 32 layers, by version; the lists by version and by the budget they are named after.
LAYERS = {"1.0": [3, 7, 16, 20], "1.5": [3, 7, 16], "2.0": [3, 7, 16]}
LISTS = {
    "1.5": {192: [300, 200, 110], 128: [303, 110, 36], 96: [238, 48, 26], 64: [66, 30, 17]},
    "2.0": {192: [300, 200, 118], 128: [238, 108, 60], 96: [246, 54, 28], 64: [66, 34, 20]},
}
USUAL_RANK = 14  # what 1.0's counts are announced for; the real rank is known with the question only
NOISE_SEED = 0


@dataclass(frozen=True)
class SparseVLM(Reduction):
    """Ranking by words of the question in progressive stages, with recycling."""

    release: str = field(default="1.5", metadata={"help": "which release: 1.0, 1.5 or 2.0", "choices": tuple(LAYERS)})
    layer_list: list[int] = field(
        default_factory=list, metadata={"help": "LLM layers after which tokens are dropped, e.g. [3,7,16]"}
    )
    image_token_list: list[int] = field(
        default_factory=list, metadata={"help": "tokens kept at each of those layers, e.g. [300,200,110]"}
    )
    retained_tokens: int = field(
        default=0, metadata={"help": "the published list of that name instead: 192, 128, 96 or 64"}
    )
    scale: float = field(default=13.5, metadata={"help": "release 1.0: tokens kept for each rank; released: 13.5"})
    bias: float = field(default=0.0, metadata={"help": "release 1.0: and so many more; released: 0"})
    published: bool = published_setting("ties of density broken by noise, at least one token goes, as released")
    positions: str = position_policy("")
    reads_question: ClassVar[bool] = True
    paper: ClassVar[PaperSettings] = counted("retained_tokens", least=64, published=True)

    def __post_init__(self) -> None:
        if self.release not in LAYERS:
            raise InputError(f"release must be one of {', '.join(LAYERS)}: got {self.release!r}; leave it out for 1.5")
        switch("published", self.published)
        whole_number("retained_tokens", self.retained_tokens)
        object.__setattr__(self, "scale", checked_number("scale", self.scale, 0))
        object.__setattr__(self, "bias", checked_number("bias", self.bias, 0))
        object.__setattr__(self, "layer_list", checked_layers(self.layer_list) or LAYERS[self.release].copy())
        object.__setattr__(self, "image_token_list", self._counts())
        if self.positions == "":
            object.__setattr__(self, "positions", KEEP if self.release == "2.0" else RENUMBER)

    def _counts(self) -> list[int]:
        """The list of counts; none in 1.0."""
        given = checked_counts("image_token_list", self.image_token_list)
        if self.release == "1.0":
            if given or self.retained_tokens:
                raise InputError("sparsevlm 1.0 takes its counts from scale and bias: got a list; leave it out")
            return []
        lists = LISTS[self.release]
        if self.retained_tokens and self.retained_tokens not in lists:
            known = ", ".join(map(str, lists))
            raise InputError(f"retained_tokens must be one of {known}: got {self.retained_tokens}; give the lists")
        if self.retained_tokens and not given:
            given = lists[self.retained_tokens].copy()
        if len(given) != len(self.layer_list):
            raise InputError(
                f"image_token_list needs one count per listed layer: got {len(given)}, expected "
                f"{len(self.layer_list)}; give them, or retained_tokens"
            )
        return given

    def at_layer(self, stage: int, evidence: LayerEvidence) -> Selection:
        entered = evidence.entered
        rating = raters(entered.values, entered.text_values, entered.valid, entered.text_valid)
        rows = evidence.ran.attention_from_text()
        lengths = evidence.lengths
        if self.release == "2.0":
            rows = best_heads(rows, evidence.ran.rotary_products_from_text(), rating)
        if self.release == "1.0":
            found = ranks(rows, rating, evidence.valid).tolist()
            counts = tuple(self._of_rank(rank, length) for rank, length in zip(found, lengths))
        else:
            counts = self._fitted(own_counts(evidence, self.image_token_list[stage]), lengths)
        scores = rated(rows, rating)
        if self.release == "2.0" or counts == lengths:
            return keep_top(evidence, scores, counts)
        seed = NOISE_SEED if self.published else None
        return _recycling(evidence.values, scores.masked_fill(~evidence.valid, -torch.inf), counts, lengths, seed)

    def _of_rank(self, rank: int, length: int) -> int:
        """1.0: what stays of an image of that many tokens; all where every token adds to the rank."""
        return length if rank == length else min(int(rank * self.scale + self.bias), length - 1)

    def _fitted(self, counts: tuple[int, ...], lengths: tuple[int, ...]) -> tuple[int, ...]:
        most = (max(0, length - 1) if self.published else length for length in lengths)
        return tuple(map(min, counts, most))

    def tokens_per_stage(self, geometry: Geometry) -> list[int]:
        counts = [geometry.most_tokens]
        for stage in range(len(self.layer_list)):
            before = counts[-1]
            if self.release == "1.0":
                kept = self._of_rank(min(USUAL_RANK, before), before)
            else:
                [kept] = self._fitted((self.image_token_list[stage],), (before,))
            counts.append(kept + (0 if self.release == "2.0" else recycled_counts(before - kept)[1]))
        return counts

    @classmethod
    def from_budget(cls, retain: int, geometry: Geometry) -> "SparseVLM":
        """The released layers, at the same share of the depth, and the list for 192 tokens scaled to `retain`.

        Of 1.5; what computes is counted, merged tokens and the layers before the first drop among it.
        """
        layers, whole = scaled_layers(tuple(LAYERS["1.5"]), geometry), geometry.most_tokens
        first, *others = LISTS["1.5"][192]

        def at(count: int) -> "SparseVLM":
            counts = [count, *(max(1, round(count * other / first)) for other in others)]
            return cls(layer_list=layers, image_token_list=counts)

        if layers[-1] >= geometry.layers:
            raise too_shallow("sparsevlm", geometry)
        low, high = average_tokens(at(1), geometry), average_tokens(at(whole), geometry)
        if not low <= retain <= high:
            raise impossible("sparsevlm", retain, low, high)
        return at(solved(retain, lambda count: average_tokens(at(count), geometry), whole))


def _recycling(
    values: torch.Tensor, scores: torch.Tensor, counts: tuple[int, ...], lengths: tuple[int, ...], seed: int | None
) -> Selection:
    """Keep the best, cluster the best of the others.

    Args:
        values: (I, n, D); scores: (I, n) float32, -inf where there is no token.
        seed: of published noise; None: none.
    """
    size = values.shape[1]
    kept, recycled = kept_and_recycled(scores, counts, lengths)
    taken, clusters = zip(*(recycled_counts(length - count) for length, count in zip(lengths, counts)))
    tokens = values.take_along_dim(recycled.clamp(max=size - 1)[..., None], dim=1)
    groups, centres = density_peaks(tokens, taken, clusters, seed)
    padded = torch.nn.functional.pad(recycled, (0, 1), value=size)  # one more column for slots without a centre
    assignment = torch.full((len(values), size + 1), -1, device=values.device).scatter(1, recycled, groups)[:, :size]
    means = cluster_means(tokens, groups, max(clusters))
    return Selection(kept, counts, scores, Merged(means, padded.gather(1, centres), assignment, clusters))
