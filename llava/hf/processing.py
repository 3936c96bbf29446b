"""A prompt with pictures as inputs of transformers' own models, without torchvision: Pillow's pixels, ids, a mask.

transformers' processors of these families need torchvision, for videos; what they do to pictures and prompts does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from PIL import Image

from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.errors import InputError, shown
from llava.files.reading import reason
from llava.hf.loading_config import Host
from llava.model.checkpoint.config import DOES_NOT_FIT
from llava.model.checkpoint.folder import Folder
from llava.model.checkpoint.hf_layout import PREPROCESSOR, preprocessor_of
from llava.model.checkpoint.rules import Rule, check, flag, list_of, number, one_of, positive, table_of, whole

_SIDE = whole(1, 2**30)
RULES: dict[str, Rule] = {
    **dict.fromkeys(("do_resize", "do_rescale", "do_normalize", "do_convert_rgb", "crop_to_patches"), flag()),
    **dict.fromkeys(("min_pixels", "max_pixels"), _SIDE),
    "size": table_of(_SIDE),
    **dict.fromkeys(("patch_size", "temporal_patch_size", "merge_size"), whole(1, 2**10)),
    **dict.fromkeys(("min_patches", "max_patches"), whole(1, 1024)),
    "resample": whole(0, 5),
    "rescale_factor": positive(1),
    "image_mean": list_of(number(-10, 10), 3, 3),
    "image_std": list_of(positive(10), 3, 3),
}


@dataclass(frozen=True)
class PromptProcessor:
    """`processor(text=[...], images=[...])`: inputs of `generate`, rows padded on the left.

    Attributes:
        tokenizer, image_processor: transformers'.
        host: the family.
        per_tile: tokens of a tile, where pictures are cut into some (InternVL).
    """

    tokenizer: Any
    image_processor: Any
    host: Host
    per_tile: int = 0

    whole_prompts = True  # no picture is prepared without its prompt; see llava.mm_utils.process_images

    def __call__(self, text: Any, images: Sequence[Image.Image] = (), **_: Any) -> dict[str, torch.Tensor]:
        """Inputs of one prompt or of several, with the pictures of all, in order.

        Raises:
            InputError: for another number of pictures than the prompts have places for.
        """
        prompts, left = [text] if isinstance(text, str) else list(text), list(images)
        items = []
        for prompt in prompts:
            count = prompt.replace(DEFAULT_IMAGE_TOKEN, self.host.token).count(self.host.token)
            items.append(self.prepare(prompt, left[:count]))
            left = left[count:]
        if left:
            raise InputError(f"a picture must have a place in a prompt: got {len(left)} more than {self.host.picture}")
        return self.collate([ids for ids, _ in items], [pixels for _, pixels in items])

    def prepare(self, prompt: str, images: Sequence[Image.Image]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The ids (L,) int64 of one prompt, a placeholder for each token of its pictures, and their pixels."""
        pixels = self.pixels(images) if images else {}
        return self.ids(prompt, self.counts(pixels)), pixels

    def pixels(self, images: Sequence[Image.Image]) -> dict[str, torch.Tensor]:
        """What the model takes of pictures, all one after the other."""
        try:
            made = self.image_processor(images=list(images), return_tensors="pt")
        except ValueError as error:
            raise InputError(f"a picture must fit the checkpoint's processor: {reason(error)}; crop it") from error
        return dict(made)

    def counts(self, pixels: dict[str, torch.Tensor]) -> list[int]:
        """Tokens of each picture."""
        if "num_patches" in pixels:
            return [int(tiles) * self.per_tile for tiles in pixels["num_patches"]]
        if "image_grid_thw" not in pixels:
            return []
        unit = self.image_processor.merge_size**2
        return [int(total) // unit for total in pixels["image_grid_thw"].prod(dim=-1)]

    def ids(self, prompt: str, counts: Sequence[int]) -> torch.Tensor:
        """A prompt's ids (L,) int64; LLaVA's `<image>` stands for a picture as the family's own mark does."""
        return self.spread(self.compact(prompt, len(counts)), counts)

    def compact(self, prompt: str, pictures: int) -> torch.Tensor:
        """The same with one placeholder for each picture, whatever its size.

        Raises:
            InputError: for a prompt with places for another number of pictures.
        """
        marked, token = prompt.replace(DEFAULT_IMAGE_TOKEN, self.host.picture), self.host.token
        places = marked.count(token)
        if places != pictures:
            raise InputError(
                f"a prompt must have a place for each of its pictures: got {places} {token} for {pictures} pictures; "
                f"write <image> for each"
            )
        before, behind = self.host.around
        return torch.tensor(self.tokenizer(marked.replace(token, before + token + behind)).input_ids, dtype=torch.long)

    def spread(self, ids: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
        """Ids with one placeholder for each picture -> with one for each of its tokens."""
        repeats = torch.ones_like(ids)
        repeats[ids == self.placeholder] = torch.tensor(counts, dtype=torch.long)
        return ids.repeat_interleave(repeats)

    @property
    def patches_of_token(self) -> int:
        """How many patches of the tower become one token."""
        return 4 if self.per_tile else self.image_processor.merge_size**2

    @property
    def placeholder(self) -> int:
        """The id that stands for a token of a picture."""
        return int(self.tokenizer.convert_tokens_to_ids(self.host.token))

    def collate(self, ids: Sequence[torch.Tensor], pixels: Sequence[dict[str, torch.Tensor]]) -> dict[str, Any]:
        """Arguments of `generate` for some prompts, padded on the left."""
        width, tokenizer = max(map(len, ids)), self.tokenizer
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id or 0
        table = torch.full((len(ids), width), pad, dtype=torch.long)
        mask = torch.zeros_like(table)
        for row, own in enumerate(ids):
            table[row, width - len(own) :], mask[row, width - len(own) :] = own, 1
        made: dict[str, Any] = {"input_ids": table, "attention_mask": mask}
        shown_ = [own for own in pixels if own]
        for name in shown_[0] if shown_ else ():
            if name != "num_patches":
                made[name] = torch.cat([own[name] for own in shown_])
        if "image_grid_thw" in made:
            made["mm_token_type_ids"] = (table == self.placeholder).int()
        return made


def prompt_processor(folder: Folder, host: Host, config: Any, tokenizer: Any) -> PromptProcessor:
    """The processor of a checkpoint.

    Raises:
        InputError: where its file is not there, or does not fit the model or the tokenizer.
    """
    raw, what = preprocessor_of(folder), f"a checkpoint's {PREPROCESSOR}"
    if raw is None:
        raise InputError(
            f"a checkpoint needs its {PREPROCESSOR}: {shown(folder.path, 300)} has none; copy it there, it says how "
            f"pictures become pixels"
        )
    names = one_of(*(name + end for name in host.pictures for end in ("", "Fast", "Pil")))
    check(raw, RULES | {"image_processor_type": names}, what, folder.path)
    settings = {name: value for name, value in raw.items() if name in RULES and value is not None}
    settings |= host.always
    kind: Any = getattr(transformers, f"{host.pictures[0]}Pil")
    try:
        made = kind(**settings)
    except DOES_NOT_FIT as error:
        raise InputError(f"{what} must fit: {shown(folder.path, 300)} does not ({reason(error)})") from error
    vision, per_tile = config.vision_config, 0
    if hasattr(vision, "spatial_merge_size"):
        sizes = {name: getattr(vision, name) for name in ("patch_size", "temporal_patch_size")}
        sizes["merge_size"] = vision.spatial_merge_size
        for name, wanted in sizes.items():
            if getattr(made, name) != wanted:
                raise InputError(
                    f"{what} must fit the vision tower: {shown(folder.path, 300)} has {name} "
                    f"{shown(getattr(made, name))}, expected {wanted}; use the file that belongs to the weights"
                )
    else:
        per_tile = config.image_seq_length
    token = tokenizer.convert_tokens_to_ids(host.token)
    if token is None or token != config.image_token_id:
        raise InputError(
            f"a checkpoint's tokenizer must know its picture's token: {shown(folder.path, 300)} has "
            f"{host.token} {shown(token)}, and config.json image_token_id {config.image_token_id}; copy the tokenizer "
            f"of the same checkpoint there"
        )
    return PromptProcessor(tokenizer, made, host, per_tile)
