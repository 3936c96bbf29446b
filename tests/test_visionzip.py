"""VisionZip's one line refuses what it cannot reduce; what it does is in test_llava_programs.py."""

import pytest
import torch
from conftest import Load

from llava import reduction
from llava.errors import InputError
from llava.visionzip import visionzip


def test_visionzip_refuses_what_it_cannot_reduce(load: Load) -> None:
    model = load("llava-tiny-12l").model
    with pytest.raises(InputError, match="visionzip needs a LLaVA model of this package: got a Linear"):
        visionzip(torch.nn.Linear(1, 1))
    with pytest.raises(InputError, match="must not exceed what the encoder has"):
        visionzip(model, dominant=577, contextual=1)
    with pytest.raises(InputError, match="dominant must be a whole number of at least 1"):
        visionzip(model, dominant=0)
    wrapped = torch.nn.Module()
    wrapped.get_base_model = lambda: model  # what a PEFT model offers
    assert visionzip(wrapped, dominant=54, contextual=10) is wrapped
    assert model.reduction == reduction.create("visionzip", dominant=54, contextual=10)
