"""What training leaves beside a base model: a LoRA adapter with the projector, or the projector alone."""

from typing import Any

from llava.errors import InputError
from llava.model.checkpoint.adapter import Adapter, is_adapter, merge
from llava.model.checkpoint.folder import Folder
from llava.model.checkpoint.tensors import BIN, SAFETENSORS, State, read_tensors
from llava.model.devices import is_offloaded
from llava.model.loading.making import make_model
from llava.model.loading.names import without_prefixes

PROJECTOR, TRAINED_BESIDE = "mm_projector.bin", "non_lora_trainables.bin"
FULL, LORA = "full", "lora"


def kind_of(folder: Folder, base: Folder | None) -> str:
    """`full`, `lora` or `projector`, by the files of a folder; its name says nothing.

    Raises:
        InputError: for an adapter without its base, and for a whole model with one.
    """
    adapter = is_adapter(folder)
    if base is None and not adapter:
        return FULL
    whole = any(folder.find(name) for stem in (SAFETENSORS, BIN) for name in (stem, stem + ".index.json"))
    if base is None:
        if not whole:
            raise InputError(
                f"a LoRA adapter needs its base: got '{folder.path}' alone, which holds an adapter and no weights of a "
                f"model; give model_base (--model-base)"
            )
        return FULL
    if adapter or folder.find(TRAINED_BESIDE):
        return LORA
    if whole and not folder.find(PROJECTOR):
        raise InputError(
            f"'{folder.path}' must hold {PROJECTOR} or an adapter to go with a base: it holds a whole model; leave "
            f"model_base (--model-base) out"
        )
    return "projector"


def read_beside(folder: Folder, kind: str) -> State:
    """The tensors that were trained beside a base's, under the model's names."""
    return without_prefixes(read_tensors(folder, TRAINED_BESIDE if kind == LORA else PROJECTOR))


def make_merged(model_class: Any, state: State, config: Any, adapter: Adapter, **settings: Any) -> Any:
    """As `make_model`, with an adapter added.

    It is added to whole weights: those that end up quantised or offloaded are merged on the CPU before.
    """
    if settings.get("quantization_config") is None:
        model = make_model(model_class, state, config, adapter.origin, **settings)
        if not is_offloaded(model):
            return merge(model, adapter)
        del model
    plain = {name: settings[name] for name in ("dtype", "attn_implementation")}
    merged = merge(make_model(model_class, state, config, adapter.origin, device_map={"": "cpu"}, **plain), adapter)
    return make_model(model_class, merged.state_dict(), config, adapter.origin, **settings)
