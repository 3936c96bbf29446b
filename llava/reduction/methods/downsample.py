"""Look at a smaller picture: fewer patches from the start, the cheapest way to fewer tokens.

A control, from no paper; VisionDrop (arXiv 2506.22283) and the others are measured against it. Each view is shrunk
(linearly, antialiased) to `rows` x `cols` patches, and the encoder's position embeddings are interpolated to that grid,
as transformers does for pictures of another size. Nothing is chosen or merged, and the encoder itself is faster.
"""

from dataclasses import dataclass

from llava.reduction.encoder_evidence import EncoderEvidence
from llava.reduction.gridded import Gridded
from llava.reduction.rules.grid import cells, middles
from llava.reduction.selection import Selection


@dataclass(frozen=True)
class Downsample(Gridded):
    """A smaller picture."""

    def grid(self, side: int) -> tuple[int, int]:
        return self.rows, self.cols

    def at_encoder(self, evidence: EncoderEvidence) -> Selection:
        values, side = evidence.values, evidence.whole_side
        cell = cells(self.rows, self.cols, side, values.device).expand(len(values), -1)
        kept = middles(self.rows, self.cols, side, values.device).expand(len(values), -1)
        counts = (self.rows * self.cols,) * len(values)
        return Selection(kept, counts, (cell >= 0).float(), values=values, assignment=cell)
