"""Take the projector out of a LLaVA checkpoint, as a file that loads on its base model.

    python scripts/extract_mm_projector.py --model-path checkpoints/llava-v1.5-7b --output mm_projector.bin

Only the projector's tensors are read.
"""

import torch

from llava.errors import InputError
from llava.eval.runs.command import Parser, run
from llava.files.writing import replacing
from llava.model.checkpoint.folder import Folder
from llava.model.checkpoint.tensors import read_weights

PARTS = ("mm_projector", "vision_resampler")
BESIDE = "image_newline"  # what a LLaVA-NeXT's projector goes with; LLaVA's own loaders take it or pass it over


def extract(model_path: str, output: str) -> list[str]:
    """Write the projector's tensors under their names, which are returned."""
    held = read_weights(Folder(model_path))
    # Cloned: a view of a mapped file would be written with all of it.
    projector = {name: tensor[...].clone() for name, tensor in held.items() if any(part in name for part in PARTS)}
    if projector:
        projector |= {name: tensor[...].clone() for name, tensor in held.items() if name.rsplit(".", 1)[-1] == BESIDE}
    else:
        raise InputError(
            f"a checkpoint must hold a projector: no tensor in '{model_path}' has {' or '.join(PARTS)} in its name; "
            f"give a LLaVA checkpoint"
        )
    with replacing(output) as unfinished:
        torch.save(projector, unfinished)
    return sorted(projector)


def main() -> None:
    """The command."""
    parser = Parser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model-path", "--model_name_or_path", required=True, help="a LLaVA checkpoint")
    parser.add_argument("--output", required=True, help="file to write, such as mm_projector.bin")
    args = parser.parse_args()
    print("\n".join(extract(args.model_path, args.output)))


if __name__ == "__main__":
    run(main)
