"""What a run leaves behind, by what was trained: the files that `load_pretrained_model` and LLaVA's own code read."""

import copy
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from llava.errors import InputError, shown
from llava.files.reading import read_json_object
from llava.files.writing import replacing
from llava.model.checkpoint.folder import Folder
from llava.model.checkpoint.tensors import read_file
from llava.model.loading.names import beside_adapter, compare
from llava.model.loading.state import read_state
from llava.model.vision_modules import NEWLINE, load_pretrained_parts

Mode = Literal["full", "projector", "lora"]
PROJECTOR_FILE, BESIDE_LORA = "mm_projector.bin", "non_lora_trainables.bin"
STATE_FILE = "trainer_state.json"
WRAPPED = "base_model.model."  # what PEFT puts before the names of a model


@dataclass(frozen=True)
class Base:
    """What a run starts from, by which `load_pretrained_model` completes what was trained beside it.

    Attributes:
        vocabulary: rows of its embeddings; the tokens of a run have theirs behind these.
        names: of its parameters that an image's tokens are made by, projector and newline token.
    """

    vocabulary: int
    names: frozenset[str]

    @classmethod
    def of(cls, model: Any) -> "Base":
        """What a model has that was read a moment ago."""
        return cls(model.get_input_embeddings().num_embeddings, frozenset(_image_parts(model)))

    def lacked_by(self, model: Any) -> set[str]:
        """Names of the parts that a model was given since, under its own names."""
        return set(_image_parts(model)) - self.names


def _image_parts(model: nn.Module) -> list[str]:
    names = (name for name, _ in model.named_parameters())
    return [name for name in names if ".mm_projector." in name or name.rsplit(".", 1)[-1] == NEWLINE]


def mode_of(arguments: Any, training: Any) -> Mode:
    """What kind of checkpoint the flags make."""
    return "lora" if training.lora_enable else "projector" if arguments.tune_mm_mlp_adapter else "full"


def save_weights(
    model: Any,
    llava: Any,
    mode: Mode,
    folder: str,
    state: dict[str, torch.Tensor] | None = None,
    base: Base | None = None,
) -> None:
    """Write the weights of a run, and its configuration, into a folder.

    Args:
        model: what is trained: `llava`, or PEFT's wrapper around it.
        state: weights gathered from several devices, under the names of `model`; None: those of the model.
        base: what the run started from; None: nothing was added to it.

    An adapter or a projector is completed by its base when it is loaded: what the base lacks lies beside it, trained or
    not, and its configuration has the base's vocabulary, which the loader gives the rows of LLaVA's tokens.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    if mode == "full":
        llava.save_pretrained(folder, **({} if state is None else {"state_dict": state}))
        return
    held = state if state is not None else dict(model.named_parameters())
    if mode == "lora":
        model.save_pretrained(folder, save_embedding_layers=False, **({} if state is None else {"state_dict": state}))
        lacked = base.lacked_by(llava) if base is not None else set()
        beside = [
            name
            for name, p in model.named_parameters()
            if "lora_" not in name and (p.requires_grad or name.removeprefix(WRAPPED) in lacked)
        ]
        _save(folder, BESIDE_LORA, {beside_adapter(name): held[name] for name in beside})
    else:
        # A newline token is not trained here, but the projector was trained beside this one.
        own = [name for name in held if "mm_projector" in name or name.rsplit(".", 1)[-1] == NEWLINE]
        _save(folder, PROJECTOR_FILE, {name: held[name] for name in own})
    config = copy.deepcopy(llava.config)
    if base is not None:
        config.vocab_size = base.vocabulary
        if config.pad_token_id is not None and config.pad_token_id >= base.vocabulary:
            config.pad_token_id = None  # of a token of this run, which stands in no text
    config.save_pretrained(folder)
    # How pictures become pixels, for a tower that lies in no folder of its own.
    tower = llava.get_vision_tower() if hasattr(llava, "get_vision_tower") else None
    if tower is not None and tower.has_image_processor:
        tower.image_processor.save_pretrained(folder)


def _save(folder: str, name: str, tensors: dict[str, torch.Tensor]) -> None:
    with replacing(os.path.join(folder, name)) as unfinished:
        torch.save({key: tensor.detach().cpu().clone() for key, tensor in tensors.items()}, unfinished)


def load_weights(model: Any, llava: Any, mode: Mode, folder: str) -> None:
    """Take back what `save_weights` wrote; InputError where the folder holds something else."""
    if mode == "projector":
        load_pretrained_parts(llava.get_model(), os.path.join(folder, PROJECTOR_FILE))
    elif mode == "lora":
        from peft import set_peft_model_state_dict

        adapter = {name: tensor[...] for name, tensor in _read(folder, "adapter_model.safetensors").items()}
        wrong = set_peft_model_state_dict(model, adapter).unexpected_keys
        if wrong:
            raise InputError(f"an adapter must fit its model: {shown(folder, 300)} has {shown(wrong[0])} besides")
        beside, held = _read(folder, BESIDE_LORA), {beside_adapter(name): name for name in model.state_dict()}
        _fill(model, {held.get(name, name): beside[name] for name in beside}, folder)
    else:
        state = read_state(Folder(folder), {}, None)
        _fill(llava, state, folder)


def _read(folder: str, name: str) -> Any:
    path = os.path.join(folder, name)
    if not os.path.isfile(path):
        raise InputError(f"a checkpoint of training must be whole: {shown(path, 300)} is not there; remove the folder")
    return read_file(path)


def _fill(model: nn.Module, state: Any, origin: str) -> None:
    """Copy tensors into a model's parameters of the same names."""
    own = model.state_dict()
    known = {name: own[name] for name in state if name in own}
    compare(state, known, set(), origin)
    model.load_state_dict({name: state[name][...] for name in state}, strict=False)


def checkpoint_to_resume(training: Any) -> str | None:
    """The checkpoint that a run goes on from: the one that the flags name, else the newest whole one; None: none.

    Raises:
        InputError: when the one that is named is not whole.
    """
    named = training.resume_from_checkpoint
    if named is None or str(named).lower() in ("true", "false"):
        return last_checkpoint(str(training.output_dir))
    if not _is_whole(Path(named)):
        raise InputError(
            f"--resume_from_checkpoint must name a whole checkpoint: {shown(str(named), 300)} has no {STATE_FILE}; "
            f"name a checkpoint-N of a run, or leave it out to go on from the newest"
        )
    return str(named)


def last_checkpoint(folder: str) -> str | None:
    """The newest `checkpoint-N` that is whole; None: there is none.

    A run that is killed while it saves leaves a folder without the state that the trainer writes last.
    """
    found = [(int(path.name.split("-")[1]), path) for path in Path(folder).glob("checkpoint-*") if _numbered(path)]
    return next((str(path) for _, path in sorted(found, reverse=True) if _is_whole(path)), None)


def _numbered(path: Path) -> bool:
    return path.is_dir() and path.name.removeprefix("checkpoint-").isdecimal()


def _is_whole(path: Path) -> bool:
    try:
        return "global_step" in read_json_object(path / STATE_FILE, "a trainer's state")
    except InputError:
        return False
