"""cuDNN's attention is left out while one of these models runs, and nothing that a user has set is changed for good."""

import pytest
import torch
from conftest import Load
from torch.backends import cuda as kernels
from transformers import Trainer

from llava.model.attention_kernels import runs_without_cudnn, without_cudnn
from llava.train.llava_trainer import LLaVATrainer


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)


def test_it_is_left_out_and_comes_back(on_a_gpu: None) -> None:
    assert kernels.cudnn_sdp_enabled()
    with without_cudnn():
        assert not kernels.cudnn_sdp_enabled() and kernels.flash_sdp_enabled() and kernels.mem_efficient_sdp_enabled()
        with without_cudnn():
            assert not kernels.cudnn_sdp_enabled()
        assert not kernels.cudnn_sdp_enabled()
    assert kernels.cudnn_sdp_enabled()

    @runs_without_cudnn
    def failing() -> None:
        assert not kernels.cudnn_sdp_enabled()
        raise ValueError("a prompt")

    with pytest.raises(ValueError, match="a prompt"):
        failing()
    assert kernels.cudnn_sdp_enabled()


def test_who_allows_it_alone_has_it(on_a_gpu: None) -> None:
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.CUDNN_ATTENTION), without_cudnn():
        assert kernels.cudnn_sdp_enabled()


def test_nothing_is_touched_without_a_gpu() -> None:
    with without_cudnn():
        assert kernels.cudnn_sdp_enabled()


def test_tower_and_decoder_run_so(load: Load, on_a_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = load("llava-tiny").model, []
    parts = (model.get_model().layers[0], model.get_vision_tower().last_layer)
    hooks = [part.register_forward_pre_hook(lambda *_: seen.append(kernels.cudnn_sdp_enabled())) for part in parts]
    tower = model.get_vision_tower()
    pixels = torch.zeros(1, 3, tower.image_size, tower.image_size)
    model(torch.tensor([[1, -200, 5]]), images=pixels)
    for hook in hooks:
        hook.remove()
    assert seen == [False, False] and kernels.cudnn_sdp_enabled()


def test_a_whole_training_runs_so_layers_that_are_computed_again_too(
    on_a_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "train", lambda self, resume: kernels.cudnn_sdp_enabled())
    assert LLaVATrainer.train(LLaVATrainer.__new__(LLaVATrainer)) is False
    assert kernels.cudnn_sdp_enabled()
