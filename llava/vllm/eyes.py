"""vLLM's CLIP tower and a projector, asked by a method what an image leaves of them. Nothing here imports vLLM."""

from types import SimpleNamespace
from typing import Any

import torch

from llava.model.evidence.clip import ClipEvidence
from llava.model.evidence.surroundings import Surroundings
from llava.model.multimodal_encoder.vision_tower import Encoded
from llava.model.multimodal_encoder.wanted import Wanted, run_layers
from llava.model.projected_choice import choose_in_views
from llava.reduction import Reduction
from llava.vllm.fused import FusedLayer, Ranks

FIRST_PATCH = 1  # after [CLS]


class Eyes:
    """A tower whose features are the output of the last layer it has.

    Args:
        tower: vLLM's CLIP transformer: `embeddings`, `pre_layrnorm`, `encoder.layers`.
        projector: (V, k, D of the tower) -> (V, k, D of the LLM).
        side: patches along one side of a picture.
        keeps_cls: what is not reduced has its [CLS] too.
    """

    def __init__(self, tower: Any, projector: Any, side: int, keeps_cls: bool, ranks: Ranks) -> None:
        self._tower, self._projector, self._keeps_cls = tower, projector, keeps_cls
        self._layers = [FusedLayer(layer, ranks) for layer in tower.encoder.layers]
        # What `Surroundings` takes for a tower.
        self.num_patches_per_side = side
        self.vision_tower = SimpleNamespace(encoder=SimpleNamespace(layers=self._layers))

    def tokens(self, pixels: torch.Tensor, method: Reduction) -> torch.Tensor:
        """(V, 3, h, w) of V pictures -> (V, kept, D of the LLM)."""
        run = len(self._layers)
        wanted = Wanted.of(method, run, run, self.num_patches_per_side)
        hidden = self._tower.pre_layrnorm(self._tower.embeddings(pixels))
        seen = run_layers(self._layers, hidden, run, wanted, FIRST_PATCH)
        around = Surroundings(self, seen.others, seen.into)
        evidence = ClipEvidence(self._layers[-1], seen.entering, seen.leaving, pixels, around)
        if method.after_projector:
            return choose_in_views(method, Encoded(self._projector(evidence.values), None, evidence)).features
        selection = method.at_encoder(evidence)
        if selection is not None:
            left = selection.tokens(evidence.values, evidence.cls_token if selection.keeps_cls else None)
        else:
            left = evidence.tokens if self._keeps_cls else evidence.values
        return self._projector(left)
