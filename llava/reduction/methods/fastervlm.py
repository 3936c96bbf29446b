"""Keep the patches that [CLS] attends to most, and drop the others, all inside the vision encoder.

FasterVLM, arXiv 2412.01818v1; released as Theia-4869/FasterVLM, llava/model/llava_arch.py. Nothing is merged, [CLS]
itself is dropped, and the LLM is left as it is: VisionZip without its contextual tokens. The released code has nothing
to mend, so there is no `published` setting. It ranks in the model's own precision, where float16 makes ties; here the
ranking is float32. An encoder without [CLS] (SigLIP) ranks patches by the attention they receive. Rows of a LLaVA-NeXT
image keep their newline tokens on top of the patches, as released.
"""

from dataclasses import dataclass, field, replace
from typing import ClassVar

from llava.reduction.base import Evidence
from llava.reduction.paper import PaperSettings, counted
from llava.reduction.selection import NEWLINES, Selection
from llava.reduction.stages import at_most, keep_top, patch_scores
from llava.reduction.viewwise import Viewwise


@dataclass(frozen=True)
class FasterVLM(Viewwise):
    """[CLS] ranking, once, in the encoder; nothing merged."""

    visual_token_num: int = field(metadata={"help": "patches leaving the vision encoder, of each view, e.g. 64"})
    keeps_newlines: ClassVar[bool] = True
    paper: ClassVar[PaperSettings] = counted("visual_token_num")

    def at_encoder(self, evidence: Evidence) -> Selection:
        best = keep_top(evidence, patch_scores(evidence), at_most(evidence, self.visual_token_num))
        return replace(best, arrangement=NEWLINES)
