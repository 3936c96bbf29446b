"""What a method may ask a layer of SigLIP's encoder; letters in shapes as in this room's `__init__`."""

import torch

from llava.model.evidence.clip import ClipEvidence


class SiglipEvidence(ClipEvidence):
    """Evidence of one SigLIP encoder layer: CLIP's names, and no [CLS]. Patches are ranked by what they receive."""

    has_cls = False
    _first = 0

    @property
    def cls_token(self) -> torch.Tensor:
        """Refused: there is none."""
        raise NotImplementedError("SigLIP has no [CLS] token")

    def attention_from_cls(self) -> torch.Tensor:
        """Refused: there is no [CLS]."""
        raise NotImplementedError("SigLIP has no [CLS] token")
