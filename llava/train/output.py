"""The folder that a run writes, judged before anything is loaded: that it can be written, and that nothing is lost."""

import os
import tempfile
from pathlib import Path

from llava.errors import InputError, shown
from llava.files.reading import reason
from llava.train.saving import BESIDE_LORA, PROJECTOR_FILE

# Files of weights by what was trained.
WEIGHTS = {
    "full": ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"),
    "projector": (PROJECTOR_FILE,),
    "lora": ("adapter_model.safetensors", "adapter_model.bin", BESIDE_LORA),
}


def check_output(folder: str | None, mode: str, *sources: str | None) -> None:
    """Refuse a folder that cannot be written or holds what would be lost; nothing is left behind there.

    Args:
        mode: see `llava.train.saving.mode_of`.
        sources: what training starts from; those that are folders must stay as they are.
    """
    if not folder:
        raise InputError("training needs a folder to write: got no --output_dir; give one")
    for source in sources:
        if source and os.path.isdir(source) and os.path.realpath(source) == os.path.realpath(folder):
            raise InputError(
                f"--output_dir must be another folder than what training starts from: {shown(folder, 300)} would be "
                f"overwritten; name another"
            )
    try:
        place = Path(os.path.abspath(folder))
        while not place.exists() and place != place.parent:
            place = place.parent
        with tempfile.TemporaryDirectory(dir=place):  # rights alone do not tell
            pass
    except (OSError, ValueError) as error:
        raise InputError(
            f"--output_dir must be a folder that can be written: {shown(folder, 300)} is not ({reason(error)}); make "
            f"room, or name another"
        ) from error
    check_mode(folder, mode)


def check_mode(folder: str, mode: str) -> None:
    """Refuse a folder with another mode's weights: a run beside them would make a checkpoint that is neither."""
    held = {
        name: [file for file in files if os.path.isfile(os.path.join(folder, file))] for name, files in WEIGHTS.items()
    }
    other = next((name for name in held if name != mode and held[name]), None)
    if other is not None and not held[mode]:
        raise InputError(
            f"--output_dir must be new or from a run of the same kind: {shown(folder, 300)} holds {held[other][0]} "
            f"({other}), and this run trains {mode}; name another --output_dir"
        )
