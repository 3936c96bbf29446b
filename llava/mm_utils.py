"""From what a person gives (image files, prompt text, a checkpoint's path) to what the model takes.

The names are LLaVA's; the geometry of `anyres` lives in `llava.anyres` and is offered here too.
"""

from collections.abc import Sequence
from typing import Any, Literal, overload

import torch
from PIL import Image
from transformers import PreTrainedTokenizerBase, StoppingCriteria

from llava.anyres import divide_to_patches, process_anyres_image, resize_and_pad_image
from llava.constants import DEFAULT_IMAGE_TOKEN, IMAGE_TOKEN_INDEX
from llava.errors import InputError, shown
from llava.files.pictures import check_size, load_image_from_base64, open_image, to_rgb
from llava.image_config import aspect_ratio, most_tiles
from llava.image_processor import ImageProcessor, check_resized
from llava.pinpoints import Pinpoints, get_anyres_image_grid_shape, select_best_resolution
from llava.utils import get_model_name_from_path

__all__ = [
    "KeywordsStoppingCriteria",
    "divide_to_patches",
    "expand2square",
    "get_anyres_image_grid_shape",
    "get_model_name_from_path",
    "load_image_from_base64",
    "open_image",
    "process_anyres_image",
    "process_images",
    "process_picture",
    "process_prompt_images",
    "resize_and_pad_image",
    "select_best_resolution",
    "tokenizer_image_token",
]


def expand2square(pil_img: Image.Image, background_color: int | tuple[int, ...]) -> Image.Image:
    """Return the image centred on a square of its longer side; of an odd margin, top or left gets the smaller half.

    Args:
        background_color: what Pillow takes for the image's mode, (red, green, blue) of 0..255 for RGB.
    """
    side = max(pil_img.size)
    if min(pil_img.size) == side:
        return pil_img
    check_size(side, side, f"the square around an image of {pil_img.width} x {pil_img.height}")
    square = Image.new(pil_img.mode, (side, side), background_color)
    square.paste(pil_img, ((side - pil_img.width) // 2, (side - pil_img.height) // 2))
    return square


def process_images(
    images: Sequence[Image.Image], image_processor: ImageProcessor, model_cfg: object
) -> torch.Tensor | list[torch.Tensor]:
    """Turn images into pixel values the way the checkpoint was trained, `model_cfg.image_aspect_ratio`.

    "pad": squared on the mean colour first. "anyres" and "anyres_max_9": a whole view and tiles (see `llava.anyres`),
    by `model_cfg.image_grid_pinpoints`. "square", "crop" or absent: the processor alone, which crops the centre.
    Images that are not RGB are converted by dropping alpha, as LLaVA's processor did: that of transformers 5
    puts transparent images on white, and the mean colour means nothing in a palette.

    Returns:
        (images, 3, 336, 336) float32 for CLIP-L/336, (images, 1 + tiles, 3, 336, 336) for tiles when all images
        have as many tiles, else a list of (1 + tiles, 3, 336, 336).
    Raises:
        InputError: there is no image or one too large, `image_aspect_ratio` is not known, or pinpoints are missing or
            unusable.
    """
    _refuse_whole_prompts(image_processor)
    mode, pinpoints = aspect_ratio(model_cfg), getattr(model_cfg, "image_grid_pinpoints", None)
    return _processed(images, image_processor, mode, pinpoints)


def _refuse_whole_prompts(processor: Any) -> None:
    if getattr(processor, "whole_prompts", False):
        raise InputError(
            "this model takes a prompt and its pictures together: got the pictures alone; call "
            "model.generate(**processor(text=prompt, images=pictures)), with <image> in the prompt for each"
        )


def process_prompt_images(
    images: Sequence[Image.Image], image_processor: ImageProcessor, model_cfg: object
) -> tuple[list[torch.Tensor], list[str]]:
    """The pixels and the modality of each of the pictures of one prompt; see `process_picture`."""
    pairs = [process_picture(image, image_processor, model_cfg, len(images) > 1) for image in images]
    return [pixels for pixels, _ in pairs], [modality for _, modality in pairs]


def process_picture(
    image: Image.Image, image_processor: ImageProcessor, model_cfg: object, beside_others: bool = False
) -> tuple[torch.Tensor, str]:
    """`process_images` for one picture of a prompt, as LLaVA's evaluations prepare them.

    Where a prompt has several and the checkpoint is one of `anyres_max_N` (OneVision), they are squared ("pad") and
    seen as one view each: tiles are for a picture alone. Plain `anyres` gives each its tiles.

    Args:
        beside_others: the prompt has several pictures.

    Returns:
        (3, h, w) or (1 + tiles, 3, h, w), and its modality, as `generate` takes them: `view`, of one view, which LLaVA
        gives no newline token, or `image`.
    Raises:
        InputError: as `process_images`.
    """
    _refuse_whole_prompts(image_processor)
    mode, pinpoints = aspect_ratio(model_cfg), getattr(model_cfg, "image_grid_pinpoints", None)
    if beside_others and most_tiles(model_cfg) is not None:
        mode = "pad"
    (pixels,) = _processed([image], image_processor, mode, pinpoints)
    return pixels, "view" if pixels.ndim == 3 else "image"


def _processed(
    images: Sequence[Image.Image], image_processor: ImageProcessor, mode: str | None, pinpoints: Pinpoints
) -> torch.Tensor | list[torch.Tensor]:
    pictures = _pictures(images)
    try:
        return _pixels(pictures, image_processor, mode, pinpoints)
    except MemoryError:
        sizes = ", ".join(f"{picture.width} x {picture.height}" for picture in pictures[:5])
        raise InputError(f"pictures must fit into memory: {sizes} pixels do not; make them smaller") from None


def _pictures(images: Sequence[Image.Image]) -> list[Image.Image]:
    """The images as RGB; InputError for what are no pictures."""
    listed: Sequence[Any] = images if isinstance(images, list | tuple) else [images]
    foreign = [image for image in listed if not isinstance(image, Image.Image)]
    if foreign or not listed or listed is not images:
        got = "none" if not listed else f"a {type(foreign[0] if foreign else images).__name__}"
        raise InputError(
            f"process_images needs a list of at least one image, opened by open_image or Pillow: got {got}; leave "
            f"images out for a text-only prompt"
        )
    for image in listed:
        if not image.width or not image.height:
            raise InputError(f"an image must have pixels: got one of {image.width} x {image.height}")
    return [image if image.mode == "RGB" else to_rgb(image) for image in listed]


def _pixels(
    pictures: list[Image.Image], image_processor: ImageProcessor, mode: str | None, pinpoints: Pinpoints
) -> torch.Tensor | list[torch.Tensor]:
    if mode is not None and mode.startswith("anyres"):
        views = [process_anyres_image(picture, image_processor, pinpoints) for picture in pictures]
        return torch.stack(views) if len({view.shape for view in views}) == 1 else views
    if mode == "pad":
        mean_color = tuple(int(255 * mean) for mean in image_processor.image_mean)
        pictures = [expand2square(picture, mean_color) for picture in pictures]
    for picture in pictures:
        check_resized(picture.size, image_processor)
    return image_processor.preprocess(pictures, return_tensors="pt")["pixel_values"]


@overload
def tokenizer_image_token(
    prompt: str, tokenizer: PreTrainedTokenizerBase, image_token_index: int = ..., return_tensors: None = None
) -> list[int]: ...
@overload
def tokenizer_image_token(
    prompt: str, tokenizer: PreTrainedTokenizerBase, image_token_index: int = ..., *, return_tensors: Literal["pt"]
) -> torch.Tensor: ...
@overload
def tokenizer_image_token(
    prompt: str, tokenizer: PreTrainedTokenizerBase, image_token_index: int, return_tensors: Literal["pt"]
) -> torch.Tensor: ...
def tokenizer_image_token(
    prompt: str,
    tokenizer: PreTrainedTokenizerBase,
    image_token_index: int = IMAGE_TOKEN_INDEX,
    return_tensors: str | None = None,
) -> list[int] | torch.Tensor:
    """Return the ids of `prompt` with `image_token_index` for every "<image>".

    The texts around the images are tokenised one by one, since a word piece must not reach across an image. Where the
    tokenizer puts BOS before each, only the first stays. Example with BOS 1: "ab<image>c" -> [1, a, b, -200, c].

    Args:
        return_tensors: None for a list, "pt" for an int64 tensor (length,).
    Raises:
        InputError: another `return_tensors`, or a prompt that is no text.
    """
    if not isinstance(prompt, str):
        raise InputError(f"a prompt must be a text: got {shown(prompt)}; tokenise prompts one by one")
    if return_tensors not in (None, "pt"):
        raise InputError(f"return_tensors must be None (a list) or 'pt' (a torch tensor): got {return_tensors!r}")
    mark = getattr(tokenizer, "picture_token_id", None)
    if mark is not None:  # of a checkpoint in transformers' layout, whose tokenizer cuts at the picture's own token
        ids = [image_token_index if token == mark else token for token in tokenizer(prompt).input_ids]
        return ids if return_tensors is None else torch.tensor(ids, dtype=torch.long)
    pieces = [list(tokenizer(text).input_ids) for text in prompt.split(DEFAULT_IMAGE_TOKEN)]
    bos = [tokenizer.bos_token_id]
    ids = pieces[0]
    for piece in pieces[1:]:
        # Only where it is one: a tokenizer without BOS does not put it before a text, though the prompt may begin so.
        added = pieces[0][:1] == bos and piece[:1] == bos
        ids += [image_token_index, *piece[added:]]
    return ids if return_tensors is None else torch.tensor(ids, dtype=torch.long)


class KeywordsStoppingCriteria(StoppingCriteria):
    """Ends a row of `generate` when what it has written ends in a keyword.

    A keyword counts when the row's last ids are the keyword's own ids, or when it stands in the decoded last ids, as
    many as the longest keyword has (the same letters may come out as other ids next to other words).
    Each row is judged alone. LLaVA's class returned one verdict for the whole batch.
    """

    def __init__(self, keywords: Sequence[str], tokenizer: PreTrainedTokenizerBase, input_ids: torch.Tensor) -> None:
        """Keep the keywords and their ids without BOS.

        Args:
            input_ids: the prompt, (batch, any length), which LLaVA's callers pass. It is not read: `generate` of this
                project starts from embeddings and shows its criteria new tokens only.
        Raises:
            InputError: `keywords` is not a list of non-empty strings.
        """
        if isinstance(keywords, str) or not all(keywords):
            raise InputError(f"keywords must be a list of non-empty strings: got {keywords!r}; write ['###'] for one")
        self.keywords = list(keywords)
        self.tokenizer = tokenizer
        self.keyword_ids = [self._ids_of(keyword) for keyword in keywords]
        self.max_keyword_len = max(map(len, self.keyword_ids), default=0)

    def __call__(self, output_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.BoolTensor:
        """Return (batch,) bool, true where a row is finished; `output_ids` is (batch, new tokens) int64."""
        tails = output_ids[:, max(0, output_ids.shape[1] - self.max_keyword_len) :].tolist()
        ended = torch.tensor([self._has_ended(tail) for tail in tails], device=output_ids.device)
        return ended.bool()  # type: ignore[return-value]

    def call_for_batch(self, output_ids: torch.Tensor, scores: Any, **kwargs: Any) -> bool:
        """Return whether the one row of `output_ids`, (1, new tokens) int64, is finished."""
        return bool(self(output_ids[:1], scores))

    def _ids_of(self, keyword: str) -> list[int]:
        ids = list(self.tokenizer(keyword).input_ids)
        return ids[1:] if len(ids) > 1 and ids[0] == self.tokenizer.bos_token_id else ids

    def _has_ended(self, tail: list[int]) -> bool:
        if any(ids and tail[-len(ids) :] == ids for ids in self.keyword_ids):
            return True
        words = str(self.tokenizer.decode(tail, skip_special_tokens=True))
        return any(keyword in words for keyword in self.keywords)
