"""Weights on disk as names and tensors: safetensors or `.bin`, in one file or in shards, read when they are needed."""

import os
from collections.abc import Mapping
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from llava.errors import InputError, shown
from llava.files.reading import check_regular
from llava.model.checkpoint.folder import Folder, first_line

# What reading weights raises where a file is torn or no checkpoint; a torn zip file is a RuntimeError.
UNREADABLE = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError),
    *(UnpicklingError, SafetensorError, RuntimeError, MemoryError, AssertionError),
)
SAFETENSORS, BIN = "model.safetensors", "pytorch_model.bin"
# Buffers that old checkpoints saved and nobody reads.
IGNORED_SUFFIXES = (".rotary_emb.inv_freq", ".embeddings.position_ids")

_FLOATS = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}

# A tensor, or a part of a safetensors file that becomes one when it is sliced.
State = dict[str, Any]


def read_weights(folder: Folder) -> State:
    """Every tensor of a checkpoint by its name in the file; those of safetensors are not read yet.

    Raises:
        InputError: when there are none, a file is torn or holds something else, or the index leads astray.
    """
    for name in (SAFETENSORS, BIN):
        file, index = folder.find(name), folder.find(name + ".index.json")
        if file is not None:
            return read_file(file)
        if index is not None:
            return _read_shards(folder, name + ".index.json")
    raise InputError(
        f"weights of '{folder.path}' cannot be read: it has neither {SAFETENSORS} nor {BIN}, nor the index of either; "
        f"copy the checkpoint again"
    )


def _read_shards(folder: Folder, name: str) -> State:
    index = folder.read_object(name) or {}
    parts = index.get("weight_map")
    where, what = shown(f"{folder.path}/{name}", 300), "a checkpoint's index"
    if not isinstance(parts, dict) or not parts or not all(isinstance(part, str) for part in parts.values()):
        raise InputError(
            f"{what} must say where tensors are: {where} has no weight_map of names and files; copy it again"
        )
    state: State = {}
    for part in sorted(set(parts.values())):
        if part != os.path.basename(part) or part in ("", ".", "..") or len(part) > 200 or set(part) & {"\\", "\0"}:
            raise InputError(f"{what} must name files beside it: {where} names {shown(part)}; copy it again")
        held = read_file(folder.need(part, f"its {name} names that; copy the checkpoint again"))
        wanted = [tensor for tensor, file in parts.items() if file == part]
        lost = [tensor for tensor in wanted if tensor not in held]
        if lost:
            raise InputError(f"{what} must fit its files: {part} has no {shown(lost[0])}; copy the checkpoint again")
        state.update({tensor: held[tensor] for tensor in wanted})
    return state


def read_file(path: str) -> State:
    """The tensors of one file. Nothing but tensors is unpickled from a `.bin`, which is mapped into memory."""
    check_regular(path, "a file of weights")
    try:
        if path.endswith(".safetensors"):
            with safe_open(path, framework="pt") as file:
                return {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        try:
            held = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # what torch wrote before 1.6 cannot be mapped
            held = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    if not isinstance(held, dict) or not all(isinstance(name, str) for name in held):
        raise unreadable(path, TypeError("it is no table of names and tensors"))
    foreign = [name for name, value in held.items() if not isinstance(value, torch.Tensor)]
    if foreign:
        raise unreadable(path, TypeError(f"{shown(foreign[0])} is no tensor"))
    return held


def read_tensors(folder: str | Folder, name: str) -> dict[str, torch.Tensor]:
    """The tensors of a `.bin` beside a checkpoint, on the CPU; nothing but tensors is unpickled."""
    place = Folder(folder) if isinstance(folder, str) else folder
    return read_file(place.need(name, "give the folder that training wrote"))


def unreadable(path: str, error: BaseException) -> InputError:
    """What to say of weights that are torn, absent, or hold more than tensors."""
    if isinstance(error, UnpicklingError):
        return InputError(
            f"a checkpoint's .bin may hold nothing but tensors: '{path}' holds other objects, which are not unpickled "
            f"because that could run code; get the weights as safetensors"
        )
    return InputError(f"weights of '{path}' cannot be read: {first_line(error)}; copy the checkpoint again")


def shape_of(tensor: Any) -> tuple[int, ...]:
    """The shape, without reading anything."""
    return tuple(tensor.get_shape() if hasattr(tensor, "get_shape") else tensor.shape)


def dtype_of(state: Mapping[str, Any]) -> torch.dtype | None:
    """The dtype of the first tensor of floating point numbers, without reading anything."""
    for tensor in state.values():
        kind = _FLOATS.get(tensor.get_dtype()) if hasattr(tensor, "get_dtype") else tensor.dtype
        if kind is not None and kind.is_floating_point:
            return kind
    return None
