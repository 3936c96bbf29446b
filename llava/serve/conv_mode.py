"""Which conversation template a command that talks to people takes."""

import argparse

from llava.conversation import Conversation
from llava.eval.runs.conv_mode import Usual, infer_conv_mode
from llava.eval.runs.loading import TRAINED
from llava.eval.runs.options import conversation_from
from llava.mm_utils import get_model_name_from_path


def conv_mode_of(args: argparse.Namespace) -> str | Conversation:
    """`--conv-mode`, or that of the model by its name; InputError for one that does not exist."""
    own = "vicuna_v1" if args.model_path == TRAINED else infer_conv_mode(get_model_name_from_path(args.model_path))
    args.conv_mode = args.conv_mode or Usual(own)
    return conversation_from(args)
