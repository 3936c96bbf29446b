"""Ask one question about one or several pictures, or about a video.

    python -m llava.eval.run_llava --model-path CHECKPOINT --image-file photo.jpg --query "What is this?" --retain 32
    python -m llava.eval.run_llava --model-path CHECKPOINT --video-file film.mp4 --query "What happens?" --retain 192

The answer goes to stdout. `eval_model(args)` is LLaVA's function of that name for notebooks.
"""

import argparse
import os
import re
import sys
from collections.abc import Iterable
from typing import Any

import torch
from PIL import Image

from llava.constants import DEFAULT_IM_END_TOKEN, DEFAULT_IM_START_TOKEN, DEFAULT_IMAGE_TOKEN, IMAGE_PLACEHOLDER
from llava.conversation import Conversation, get_conv_template
from llava.conversation_choice import AUTO
from llava.errors import InputError, shown
from llava.eval.runs.command import Parser, run
from llava.eval.runs.conv_mode import Usual, add_conv_mode, infer_conv_mode
from llava.eval.runs.hf_asking import ask_host
from llava.eval.runs.hf_run import check_host
from llava.eval.runs.loading import load_model
from llava.eval.runs.method_options import MethodChoice, add_method_options, method_from
from llava.eval.runs.options import (
    add_model_options,
    add_sampling_options,
    conversation_from,
    device_from,
    sampling_from,
)
from llava.eval.runs.schedules import geometry_for
from llava.eval.runs.video_options import add_frame_options, change_config
from llava.files.fetching import fetch_picture, is_address
from llava.files.pictures import image_from_bytes, open_image
from llava.files.videos import open_video
from llava.hf.loading import is_host
from llava.mm_utils import get_model_name_from_path, process_prompt_images, tokenizer_image_token
from llava.model.builder import prepare_tower
from llava.model.checkpoint import read_config
from llava.model.checkpoint.folder import Folder
from llava.video_pixels import process_video


def place_images(query: str, images: int, start_end: bool) -> str:
    """The query with image tokens: where `<image-placeholder>` stands, or all in front of it, one a line."""
    token = DEFAULT_IMAGE_TOKEN
    if start_end:
        token = DEFAULT_IM_START_TOKEN + token + DEFAULT_IM_END_TOKEN
    placed = len(re.findall(re.escape(IMAGE_PLACEHOLDER), query))
    if not placed:
        return f"{token}\n" * images + query
    if placed != images:
        raise InputError(f"each {IMAGE_PLACEHOLDER} stands for one picture: got {placed} of them for {images} pictures")
    return query.replace(IMAGE_PLACEHOLDER, token)


def image_parser(args: Any) -> list[str]:
    """The pictures that `args.image_file` names, with `args.sep` between them."""
    return args.image_file.split(args.sep)


def load_image(image_file: str | os.PathLike[str]) -> Image.Image:
    """The RGB picture in a file, or at an `http://` or `https://` address.

    Raises:
        InputError: it cannot be read or fetched, or is no picture; see `llava.files`.
    """
    if isinstance(image_file, str) and is_address(image_file):
        return image_from_bytes(fetch_picture(image_file), f"the picture at {shown(image_file, 300)}")
    return open_image(image_file)


def load_images(image_files: Iterable[str | os.PathLike[str]]) -> list[Image.Image]:
    """`load_image` of each."""
    return [load_image(image_file) for image_file in image_files]


def shown_to(args: Any) -> list[Image.Image]:
    """The pictures of `args.image_file`, or the frames of `args.video_file`.

    Raises:
        InputError: both are named or neither is, or one cannot be read.
    """
    if (args.image_file is None) == (args.video_file is None):
        both = "both" if args.video_file is not None else "neither"
        raise InputError(f"a question is about pictures (--image-file) or a video (--video-file): got {both}; give one")
    if args.video_file is not None:
        return open_video(args.video_file, args.num_frames, progress=True)
    return load_images(image_parser(args))


def inputs_of(args: Any, seen: list[Image.Image], processor: Any, config: Any) -> dict[str, Any]:
    """Arguments of `generate` for what `shown_to` has opened."""
    if args.video_file is None:
        pixels, modalities = process_prompt_images(seen, processor, config)
        return {"images": pixels, "image_sizes": [image.size for image in seen], "modalities": modalities}
    return {"images": [process_video(seen, processor)], "image_sizes": [seen[0].size], "modalities": ["video"]}


def eval_model(args: Any) -> str:
    """Answer `args.query` about `args.image_file` with the model at `args.model_path`; print and return the answer.

    Args:
        args: LLaVA's attributes `model_path`, `model_base`, `query`, `conv_mode`, `image_file`, `sep`, `temperature`,
            `top_p`, `num_beams`, `max_new_tokens`; any option of this command besides. What is not there has its
            default.
    """
    defaults = vars(build_parser().parse_args(["--query", ""]))
    args = argparse.Namespace(**{name: getattr(args, name, default) for name, default in defaults.items()})
    choice, sampling = method_from(args), sampling_from(args)
    device_from(args)
    inferred = infer_conv_mode(get_model_name_from_path(args.model_path))
    if args.conv_mode not in (None, AUTO, inferred):
        print(f"conversation mode {args.conv_mode} as asked for; the model's name suggests {inferred}", file=sys.stderr)
    named = {"conv_mode": args.conv_mode or Usual(inferred)}
    args.conv_mode = conversation_from(argparse.Namespace(**vars(args) | named))
    conversation = get_conv_template(args.conv_mode)
    if is_host(Folder(str(args.model_path))):
        return _eval_host(args, choice, sampling, conversation)
    seen = shown_to(args)
    config = read_config(args.model_path)
    change_config(config, args)
    prepare_tower(config, args.model_path, args.model_base)
    frames = len(seen) if args.video_file is not None else 0
    query = place_images(args.query, 1 if frames else len(seen), getattr(config, "mm_use_im_start_end", False))
    geometry = geometry_for(config, frames)
    method = choice.build(geometry)

    loaded = load_model(args, method, frames)
    print(loaded.about(args, method, geometry), file=sys.stderr)
    tokenizer, model = loaded.tokenizer, loaded.model
    conversation.append_message(conversation.roles[0], query)
    conversation.append_message(conversation.roles[1], None)
    ids = tokenizer_image_token(conversation.get_prompt(), tokenizer, return_tensors="pt")[None].to(model.device)
    if sampling["do_sample"]:
        torch.manual_seed(args.seed)
    stops = loaded.stops(args.conv_mode)
    inputs = inputs_of(args, seen, loaded.processor, model.config)
    output = model.generate(ids, **inputs, **sampling, **stops.arguments(tokenizer))
    answer = stops.cut(tokenizer.batch_decode(output, skip_special_tokens=True)[0])
    print(answer)
    return answer


def _eval_host(args: Any, choice: MethodChoice, sampling: dict[str, Any], conversation: Conversation) -> str:
    """The same of a model of transformers' own."""
    check_host(args, choice)
    if args.video_file is not None:
        raise InputError("a model of transformers' own is asked about pictures: got --video-file; give --image-file")
    seen = shown_to(args)
    conversation.append_message(conversation.roles[0], place_images(args.query, len(seen), False))
    conversation.append_message(conversation.roles[1], None)
    answer = ask_host(args, choice, sampling, conversation, seen)
    print(answer)
    return answer


def build_parser() -> Parser:
    """LLaVA's options of this command, and ours."""
    parser = Parser(prog="python -m llava.eval.run_llava", description=(__doc__ or "").split("\n")[0])
    add_model_options(parser)
    parser.add_argument(
        "--image-file",
        help="file or https:// address of a picture, or several with --sep between",
    )
    parser.add_argument("--video-file", help="a film, an animated GIF or WebP, or a folder of frames, in their place")
    add_frame_options(parser)
    parser.add_argument("--query", required=True, help="the question; <image-placeholder> marks a picture's place")
    add_conv_mode(parser)
    parser.add_argument("--sep", default=",", help="between picture files")
    add_sampling_options(parser, max_new_tokens=512)
    add_method_options(parser)
    return parser


def main() -> None:
    """The command."""
    eval_model(build_parser().parse_args())


if __name__ == "__main__":
    run(main)
