"""A model of names and tensors: placed, quantised or offloaded by transformers, and complete."""

from typing import Any

import torch
from accelerate.utils import set_module_tensor_to_device
from transformers.integrations import is_deepspeed_zero3_enabled
from transformers.utils import logging as transformers_logging

from llava.errors import InputError
from llava.files.reading import reason
from llava.model.checkpoint.folder import first_line
from llava.model.checkpoint.quantized import finish_matrices
from llava.model.checkpoint.tensors import UNREADABLE, State, unreadable
from llava.model.devices import device_of, hooks_of
from llava.model.loading.names import OUTPUT, checkpoint_names, describe_shapes, refuse_tensors, with_output


def make_model(model_class: Any, state: State, config: Any, origin: str, **settings: Any) -> Any:
    """An instance in evaluation mode that holds exactly these tensors.

    Args:
        state: of the whole model, under its names.
        origin: what to call their source in complaints.
        settings: dtype, device_map, attn_implementation and whatever else transformers' `from_pretrained` takes.

    Raises:
        InputError: when a file is torn, or the settings cannot be followed.
    """
    settings = {name: value for name, value in settings.items() if value is not None}
    if is_deepspeed_zero3_enabled():  # which shares out tensors, and not what still lies in a file
        state = {name: tensor[...] for name, tensor in state.items()}
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # its report would name the tensors that have been judged already
    try:
        model, info = model_class.from_pretrained(
            None, config=config, state_dict=checkpoint_names(state), output_loading_info=True, **settings
        )
    except ImportError as error:
        raise InputError(f"attn_implementation must be installed: {first_line(error)}; use sdpa") from error
    except UNREADABLE as error:
        raise refusal(origin, error) from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    wrong = [describe_shapes(*entry) for entry in info["mismatched_keys"]]
    lost, foreign = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
    refuse_tensors(origin, missing=lost, unexpected=foreign, wrong=sorted(wrong))
    _place_strays(model, state)
    if OUTPUT not in state and model.get_output_embeddings().weight.is_meta:
        # The table of embeddings once more, on disk, where each name has a file of its own.
        return make_model(model_class, with_output(state), config, origin, **settings)
    finish_matrices(model)
    tower = model.get_vision_tower()
    if tower is not None:
        tower.is_loaded = True
    return model.eval()


def refusal(origin: str, error: BaseException) -> Exception:
    """What to say of an error while weights were placed."""
    said = reason(error)
    if isinstance(error, torch.OutOfMemoryError):
        return error
    if "offload_folder" in said or "offload_dir" in said:
        return InputError(
            "weights that find no room in memory need a place on disk: device_map sends some there and no "
            "offload_folder is given; pass offload_folder= a folder, or more max_memory"
        )
    if "dispatched on the CPU or the disk" in said:
        return InputError(
            "8-bit and 4-bit weights stay on the accelerator: device_map or max_memory leaves some of them on the CPU "
            "or the disk; make room, or load unquantised"
        )
    if isinstance(error, (ValueError, TypeError, RuntimeError, AssertionError)):
        return InputError(f"a model must be loadable as it is asked for: '{origin}' is not ({said})")
    return unreadable(origin, error)


def _place_strays(model: Any, state: State) -> None:
    """Fill parameters that lie in no module of their own, which accelerate would send to disk and never bring back."""
    main = device_of(model.get_input_embeddings())
    if main.type == "meta":
        raise InputError(
            "a device_map must leave something in memory: it sends everything to disk, and this transformers gives no "
            "way back; give 'lm_head' another place"
        )
    for owner_name, owner in model.named_modules():
        if any(hook.offload for hook in hooks_of(owner)):
            continue
        for name, parameter in owner.named_parameters(recurse=False):
            if parameter.is_meta:
                full = f"{owner_name}.{name}" if owner_name else name
                value = state[full][...].to(parameter.dtype)
                set_module_tensor_to_device(owner, name, main, value=value)
