"""Write the model that a LoRA adapter and its base make together, in a folder that loads without either.

    python scripts/merge_lora_weights.py --model-path checkpoints/llava-v1.5-7b-lora \\
        --model-base lmsys/vicuna-7b-v1.5 --save-model-path checkpoints/llava-v1.5-7b-merged

The folder holds the weights in the precision of the adapter's config.json, vision tower included, the tokenizer and the
settings of the image processor.
"""

import os
from pathlib import Path

from transformers.utils import logging as transformers_logging

from llava.errors import InputError
from llava.eval.runs.command import Parser, run
from llava.files.writing import unwritable
from llava.mm_utils import get_model_name_from_path
from llava.model.builder import load_pretrained_model
from llava.model.checkpoint.adapter import is_adapter
from llava.model.checkpoint.folder import Folder


def merge(model_path: str, model_base: str, output: str) -> None:
    """Load, merge, save."""
    if os.path.isdir(output) and is_adapter(Folder(os.path.abspath(output))):
        raise InputError(
            f"the merged model needs a folder of its own: '{output}' holds an adapter; give --save-model-path another "
            f"one"
        )
    try:
        Path(output).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(output, error) from error
    name = get_model_name_from_path(model_path)
    tokenizer, model, _, _ = load_pretrained_model(model_path, model_base, name, device="cpu", dtype="auto")
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)


def main() -> None:
    """The command."""
    parser = Parser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model-path", required=True, help="the adapter's folder")
    parser.add_argument("--model-base", required=True, help="the language model it was trained on")
    parser.add_argument("--save-model-path", required=True, help="folder to write")
    args = parser.parse_args()
    transformers_logging.disable_progress_bar()
    merge(args.model_path, args.model_base, args.save_model_path)


if __name__ == "__main__":
    run(main)
