"""One question to a model of transformers' own, for `run_llava`."""

import argparse
import sys
from typing import Any

import torch
from PIL import Image

from llava.conversation import Conversation
from llava.eval.runs.hf_run import loaded_as, settings_of
from llava.eval.runs.method_options import MethodChoice
from llava.hf.description import describe_host
from llava.model.generation.stops import stops_of


@torch.inference_mode()
def ask_host(
    args: argparse.Namespace,
    choice: MethodChoice,
    sampling: dict[str, Any],
    conversation: Conversation,
    pictures: list[Image.Image],
) -> str:
    """The answer to a conversation that waits for one, about its pictures; what was loaded is said on stderr."""
    tokenizer, model, processor = loaded_as(args, choice)
    print(describe_host(model, processor, choice.name, settings_of(choice)), file=sys.stderr)
    made = processor(text=conversation.get_prompt(), images=pictures)
    given = {name: value.to(model.device) for name, value in made.items()}
    if sampling["do_sample"]:
        torch.manual_seed(args.seed)
    stops = stops_of(conversation.end_mark, tokenizer, model.generation_config)
    output = model.generate(**given, **sampling, **stops.arguments(tokenizer))
    new = output[:, given["input_ids"].shape[1] :]
    return stops.cut(tokenizer.batch_decode(new, skip_special_tokens=True)[0])
