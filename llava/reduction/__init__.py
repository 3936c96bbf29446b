"""Methods that keep a part of an image's tokens. A method is found by the name of its file in `methods/`."""

from llava.reduction.base import Evidence, Geometry, Reduction, name_of
from llava.reduction.encoder_evidence import EncoderEvidence, ProjectedEvidence
from llava.reduction.registry import available, create, method_class
from llava.reduction.resolve import Method, resolve
from llava.reduction.selection import Selection

__all__ = [
    "EncoderEvidence",
    "Evidence",
    "Geometry",
    "Method",
    "ProjectedEvidence",
    "Reduction",
    "Selection",
    "available",
    "create",
    "method_class",
    "name_of",
    "resolve",
]
