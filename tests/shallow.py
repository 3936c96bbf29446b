"""The tiny checkpoints with fewer layers, for tests of all but their numbers: most of a test is spent in those layers.

Names, tokens of a picture and sizes of tensors stay; recorded outputs are those of the whole checkpoints.
"""

import functools
import json
import re
import shutil
import tempfile
from pathlib import Path

from safetensors.torch import load_file, save_file

PARITY = Path(__file__).parent / "parity"
TOWER_LAYERS = 7  # of 24: enough for ToMe, which at most halves the tokens in each, to come down to 21
DECODER_LAYERS = {"llava-tiny-12l": 12, "llava-tiny-next": 8}
_ROOT = Path(tempfile.mkdtemp(prefix="shallow-"))


@functools.cache
def shallow(name: str) -> Path:
    """The folder of a checkpoint with its first layers alone, made once a process."""
    folder = _ROOT / name
    shutil.copytree(PARITY / name, folder)
    _cut(folder, DECODER_LAYERS[name])
    _cut(folder / "vision_tower", TOWER_LAYERS)
    return folder


def remove() -> None:
    """Delete what was made."""
    shutil.rmtree(_ROOT, ignore_errors=True)


def _cut(folder: Path, layers: int) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"num_hidden_layers": layers}
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    weights = folder / "model.safetensors"
    held = {
        key: tensor
        for key, tensor in load_file(weights).items()
        if (found := re.search(r"\.layers\.(\d+)\.", key)) is None or int(found[1]) < layers
    }
    save_file(held, weights, metadata={"format": "pt"})
