"""Merge the most similar tokens within every encoder layer, a few pairs in each, until as many as wanted are left.

Token Merging, arXiv 2210.09461 (ICLR 2023); released as facebookresearch/ToMe, tome/merge.py. Between attention and
MLP of each layer, tokens at even places (without [CLS]) each find the most similar one at an odd place by the keys'
mean over heads, and the closest pairs become their mean, weighted by how many patches each already is; attention is
told of the weights (`rules/tome.py`). As in comparisons on vision-language models, the number of pairs of a layer
follows from how many tokens are to be left: the smallest that comes to it; the last layers merge what is missing.

The order that comes of it is not that of the picture. The released rule has nothing to mend, so there is no `published`
setting. Later layers work on fewer tokens, so that the encoder is faster than with any other method here.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from llava.errors import InputError
from llava.reduction.base import Geometry
from llava.reduction.encoder_evidence import EncoderEvidence
from llava.reduction.paper import PaperSettings, counted
from llava.reduction.rules.tome import first_members, pairs_per_layer
from llava.reduction.selection import VIEWS, Selection
from llava.reduction.viewwise import Viewwise


@dataclass(frozen=True)
class ToMe(Viewwise):
    """Pairs merged in every layer of the encoder."""

    visual_token_num: int = field(metadata={"help": "tokens leaving the vision encoder, of each view, e.g. 64"})
    paper: ClassVar[PaperSettings] = counted("visual_token_num")

    def merges(self, patches: int, layers: int) -> tuple[int, ...]:
        return pairs_per_layer(patches, min(self.visual_token_num, patches), layers)

    def at_encoder(self, evidence: EncoderEvidence) -> Selection:
        into = evidence.merged_into()
        count = min(self.visual_token_num, into.shape[1])
        kept = first_members(into, count)
        counts = (count,) * len(kept)
        sizes = into.new_zeros(len(into), count).scatter_add(1, into, into.new_ones(()).expand_as(into))
        scores = sizes.gather(1, into).float()
        return Selection(kept, counts, scores, values=evidence.values, assignment=into, arrangement=VIEWS)

    def check(self, geometry: Geometry) -> None:
        super().check(geometry)
        layers = max(1, geometry.encoder_layers - 1)
        if geometry.patches and sum(self.merges(geometry.patches, layers)) < geometry.patches - self.visual_token_num:
            raise InputError(
                f"visual_token_num of tome must be reached by halving at most in each of {layers} encoder layers: got "
                f"{self.visual_token_num} of {geometry.patches}; raise it"
            )
