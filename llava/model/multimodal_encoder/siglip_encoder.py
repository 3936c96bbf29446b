"""SigLIP as LLaVA-NeXT's eyes (OneVision): the output of the last layer but one, before any norm, without [CLS]."""

from typing import Any

from llava.errors import InputError
from llava.model.evidence.siglip import SiglipEvidence
from llava.model.multimodal_encoder.partial_siglip import PartialSiglip
from llava.model.multimodal_encoder.scales import scales_of
from llava.model.multimodal_encoder.vision_tower import VisionTower


class SigLipVisionTower(VisionTower):
    """LLaVA-NeXT's SigLIP.

    As there, the last encoder layer and the head are cut off, the features are what leaves the last layer that is left,
    and `mm_vision_select_layer` and `mm_vision_select_feature` are not read: checkpoints say -2 and mean this. The
    geometry is the tower's own (there it is 384 pixels and 729 patches, always).
    """

    encoder_class = PartialSiglip
    evidence_class = SiglipEvidence

    def choose(self, args: Any, config: Any) -> int:
        """All layers but the last; refuses `s2`."""
        scales_of(args, config)
        if config.num_hidden_layers < 2:
            raise InputError(
                f"a SigLIP tower's last layer is cut off: got num_hidden_layers {config.num_hidden_layers}, expected 2 "
                f"or more; use the config.json that belongs to the tower"
            )
        return config.num_hidden_layers - 1
