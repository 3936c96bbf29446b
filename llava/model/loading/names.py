"""What tensors are called: in LLaVA's checkpoints, in training's extra files, and in the model."""

import re
from typing import Any

from llava.errors import InputError, shown
from llava.model.checkpoint.hf_layout import original_name
from llava.model.checkpoint.tensors import IGNORED_SUFFIXES, State, shape_of

# The decoder is `model`, but MPT's is `transformer`.
TOWER = re.compile(r"^(model|transformer)\.vision_tower\.vision_tower\.")
# LLaVA nests CLIP's own module names; transformers 5 has one level less than the checkpoints.
_NESTED = re.compile(TOWER.pattern + r"vision_model\.")
# Where a family keeps the rows of its vocabulary.
OUTPUT = "lm_head.weight"
VOCABULARY = ("model.embed_tokens.weight", "transformer.wte.weight", OUTPUT)


def model_names(state: State) -> State:
    """Tensors under the model's names, whichever layout they come from; buffers that nobody reads are left out.

    Raises:
        InputError: for two tensors that are one.
    """
    kept = {original_name(name): tensor for name, tensor in state.items() if not name.endswith(IGNORED_SUFFIXES)}
    whole = sum(not name.endswith(IGNORED_SUFFIXES) for name in state)
    if len(kept) != whole:
        raise InputError(
            f"each tensor of a checkpoint comes once: got {whole - len(kept)} under two generations of names; fetch "
            f"the files of one revision"
        )
    return {_NESTED.sub(r"\1.vision_tower.vision_tower.", name): tensor for name, tensor in kept.items()}


def checkpoint_names(state: State) -> State:
    """The inverse: as LLaVA's checkpoints have them, which transformers then keeps to when it saves."""
    return {TOWER.sub(r"\1.vision_tower.vision_tower.vision_model.", name): state[name] for name in state}


def with_output(state: State) -> State:
    """Tensors of a model whose output layer is its table of embeddings, with that layer under its own name."""
    return state | {OUTPUT: next(state[name] for name in VOCABULARY if name in state)}


def beside_adapter(name: str) -> str:
    """What a parameter is called in `non_lora_trainables.bin`: PEFT moves a layer that it adapts one level down."""
    return name.replace(".base_layer.", ".")


def without_prefixes(state: State) -> State:
    """Names of `non_lora_trainables.bin` as the model has them: PEFT and DeepSpeed put prefixes before them."""
    bare = {beside_adapter(name.removeprefix("base_model.")): tensor for name, tensor in state.items()}
    if any(name.startswith(("model.model.", "model.transformer.")) for name in bare):
        bare = {name.removeprefix("model."): tensor for name, tensor in bare.items()}
    return model_names(bare)


def compare(state: State, wanted: State, optional: set[str], origin: str) -> None:
    """Refuse tensors that are not exactly those a model has.

    Args:
        wanted: the model's own, whose shapes count.
        optional: names that need not be there: those that share another's tensor.

    Raises:
        InputError: naming those that are missing, unexpected or of another shape.
    """
    wrong = [name for name in state if name in wanted and shape_of(state[name]) != shape_of(wanted[name])]
    refuse_tensors(
        origin,
        unexpected=sorted(set(state) - set(wanted)),
        wrong=[describe_shapes(name, shape_of(state[name]), shape_of(wanted[name])) for name in sorted(wrong)],
        missing=sorted(set(wanted) - set(state) - optional),
    )


def describe_shapes(name: str, got: Any, expected: Any) -> str:
    """One tensor of a wrong shape, in words."""
    return f"{name} is {tuple(got)}, expected {tuple(expected)}"


def refuse_tensors(
    origin: str, missing: list[str] | None = None, unexpected: list[str] | None = None, wrong: list[str] | None = None
) -> None:
    """Raise an InputError that names the tensors, if there are any."""
    for problem, names in (("unexpected", unexpected), ("of a wrong shape", wrong), ("missing", missing)):
        if names:
            first = ", ".join(name if len(name) < 200 and name.isprintable() else shown(name) for name in names[:5])
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise InputError(
                f"tensors of a checkpoint must match its config.json: {len(names)} {problem} in '{origin}': {first}"
                f"{more}; use the config that belongs to the weights"
            )
