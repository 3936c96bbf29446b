"""Write a LLaVA checkpoint in transformers' layout (llava-hf), for transformers, vLLM and whatever stands on them.

    python scripts/export_hf.py --model-path CHECKPOINT --output FOLDER

The folder holds the weights in the checkpoint's precision, the tower inside; a tokenizer.json with the same ids; a
processor that makes the same pixels (`do_pad`, pinpoints in the same order); and the conversation template as chat
template, with BOS.
"""

import os

from transformers.utils import logging as transformers_logging

from llava.conversation import get_conv_template
from llava.conversation_choice import AUTO
from llava.errors import InputError
from llava.eval.runs.command import Parser, run
from llava.eval.runs.options import conversation_from
from llava.hf.export import check_exportable, export
from llava.mm_utils import get_model_name_from_path
from llava.model.builder import load_pretrained_model


def main() -> None:
    """The command."""
    parser = Parser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model-path", required=True, help="LLaVA checkpoint: a folder or a hub id")
    parser.add_argument("--model-base", help="language model under a LoRA or projector-only checkpoint")
    parser.add_argument("--output", required=True, help="folder to write")
    about = f"conversation template that becomes the chat template, or {AUTO}: the checkpoint's own"
    parser.add_argument("--conv-mode", default=AUTO, metavar="NAME", help=about)
    args = parser.parse_args()
    if os.path.isdir(args.output) and os.listdir(args.output):
        raise InputError(f"--output must be a new or empty folder: '{args.output}' holds files; name another one")
    transformers_logging.disable_progress_bar()
    template = get_conv_template(conversation_from(args))
    name = get_model_name_from_path(args.model_path)
    tokenizer, model, _, _ = load_pretrained_model(args.model_path, args.model_base, name, device="cpu", dtype="auto")
    check_exportable(model)
    export(model, tokenizer, template, args.output)
    print(f"written to {args.output}")


if __name__ == "__main__":
    run(main)
