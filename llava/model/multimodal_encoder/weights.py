"""A vision tower's tensors under transformers' names, wherever they lie: those that are used, and no others."""

from typing import Any

from llava.model.checkpoint.folder import Folder
from llava.model.checkpoint.tensors import IGNORED_SUFFIXES, State, read_weights

# What else the checkpoint of a whole CLIP or SigLIP holds.
_OTHER = ("text_model.", "visual_projection.", "text_projection.", "logit_scale", "logit_bias")


def read_tower(folder: Folder, config: Any) -> State:
    """A vision encoder's tensors, from its own folder or from a whole CLIP's or SigLIP's.

    Args:
        config: the encoder's configuration; it decides which tensors are read at all.
    """
    state = read_weights(folder)
    inside = {name.removeprefix("vision_model."): state[name] for name in state if name.startswith("vision_model.")}
    chosen = inside or {name: state[name] for name in state if not name.startswith(_OTHER)}
    read = {name: tensor for name, tensor in chosen.items() if not f".{name}".endswith(IGNORED_SUFFIXES)}
    return used(read, config)


def used(state: State, config: Any, prefix: str = "") -> State:
    """Without the tensors that the tower has no module for.

    LLaVA cuts SigLIP's last layer and its head off. Published checkpoints lack them, a SigLIP folder holds them.

    Args:
        prefix: of the tower's names in `state`; tensors under other names stay.
    """
    cut: tuple[str, ...] = ()
    if config.model_type == "siglip_vision_model":
        cut = (f"{prefix}head.", f"{prefix}encoder.layers.{config.num_hidden_layers - 1}.")
    return {name: tensor for name, tensor in state.items() if not name.startswith(cut)}
