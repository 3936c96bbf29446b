"""All tensors of a model before any is copied: what a checkpoint, its base, its extras and its tower hold together.

A model is made of this in one step, so quantisation and offloading treat what came from an extra file like the rest,
and what is missing is known before memory is taken.
"""

import copy
from typing import Any

import torch

from llava.errors import InputError
from llava.files.reading import reason
from llava.model.checkpoint.config import DOES_NOT_FIT, WHAT
from llava.model.checkpoint.folder import Folder
from llava.model.checkpoint.tensors import State, read_weights
from llava.model.loading.names import TOWER, VOCABULARY, compare, model_names
from llava.model.multimodal_encoder.source import TowerSource
from llava.model.multimodal_encoder.weights import read_tower, used

# A revision or subfolder is the checkpoint's own, the way to the hub is the same for both.
TOWER_HUB_ARGUMENTS = ("cache_dir", "local_files_only", "proxies", "token")


def read_state(folder: Folder, extra: State, source: TowerSource | None) -> State:
    """Names and tensors of a whole model.

    Args:
        folder: of the checkpoint, or of the base.
        extra: what was trained beside it; it takes the place of what the folder holds.
        source: of the tower; its weights are read from there if the folder does not hold them.
    """
    state = model_names(read_weights(folder)) | extra
    if source is None:
        return state
    decoder = "transformer" if any(name.startswith("transformer.") for name in state) else "model"
    tower = f"{decoder}.vision_tower.vision_tower."
    if any(map(TOWER.match, state)):  # those that were trained with it, whatever lies beside
        return used(state, source.config, tower)
    if source.name is not None:
        place = Folder(source.name, {name: folder.hub[name] for name in folder.hub if name in TOWER_HUB_ARGUMENTS})
        state |= {tower + name: tensor for name, tensor in read_tower(place, source.config).items()}
    return state


def check_state(state: State, config: Any, model_class: Any, origin: str) -> None:
    """Refuse tensors that do not make the model its configuration describes; nothing is read, no memory taken."""
    try:
        with torch.device("meta"):
            empty = model_class(copy.deepcopy(config))
    except InputError:
        raise
    except DOES_NOT_FIT as error:
        raise InputError(f"{WHAT} must fit: '{origin}' makes no model ({reason(error)})") from error
    if getattr(config, "quantization_config", None) is not None:
        return  # weights that were saved in 8 or 4 bits have more names than the model; transformers compares those
    shared = set(getattr(empty, "all_tied_weights_keys", {}))
    compare(state, empty.state_dict(), shared, origin)


def fit_vocabulary(state: State, config: Any, size: int) -> None:
    """As many rows as a tokenizer has tokens, as LLaVA's loader makes it.

    Rows are added for tokens that the checkpoint has none of: the mean of its rows, LLaVA's beginning. Rows beyond the
    tokenizer (Qwen2 has 152064 for 151646 tokens, a round number for the hardware) are left out: nothing stands for
    them, and they could be answered.
    """
    held = config.vocab_size
    for name in VOCABULARY if size != held else ():
        if name in state:
            table = state[name][:size]
            if size > held:
                mean = table.float().mean(dim=0, keepdim=True)  # not rounded to a file's dtype: training's was not
                table = torch.cat([table.float(), mean.expand(size - len(table), -1)])
            state[name] = table
    config.vocab_size = size
    if config.pad_token_id is not None and config.pad_token_id >= size:
        config.pad_token_id = None  # it only says which row is not trained
