"""Samples one by one as tensors, under LLaVA's names."""

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import Dataset

from llava.conversation import Conversation
from llava.image_processor import view_edge
from llava.mm_utils import open_image, process_images
from llava.train.data.encoding import Encoder
from llava.train.data.samples import Sample, Samples, read_samples
from llava.train.data.template import rule_of, training_template


class LazySupervisedDataset(Dataset):
    """LLaVA's dataset: conversations as ids and targets, pictures as pixels, each when it is asked for.

    Args:
        data_path: LLaVA's JSON.
        tokenizer: the model's, with `model_max_length`.
        data_args: `image_folder`, `image_aspect_ratio`, `image_grid_pinpoints` (anyres), `image_processor` (None: the
            run has no vision tower), `mm_use_im_start_end`, `version` (the template; absent: vicuna_v1),
            `official_masking`, `check_pictures`.

    Raises:
        InputError: for data that cannot be trained on, see `read_samples`.
    """

    def __init__(self, data_path: str, tokenizer: Any, data_args: Any) -> None:
        super().__init__()
        self.tokenizer, self.data_args = tokenizer, data_args
        conv: Conversation = training_template(getattr(data_args, "version", None) or "vicuna_v1")
        checked: bool = getattr(data_args, "check_pictures", True)
        official = bool(getattr(data_args, "official_masking", False))
        square = getattr(data_args, "image_aspect_ratio", None) == "pad"
        self.samples: Samples = read_samples(
            data_path, data_args.image_folder, rule_of(conv), checked, official, square
        )
        start_end = bool(getattr(data_args, "mm_use_im_start_end", False))
        self.encoder = Encoder(conv, tokenizer, start_end, official)

    def __len__(self) -> int:
        return len(self.samples.kept)

    @property
    def lengths(self) -> list[int]:
        """Words of each sample; one with pictures counts 128 more, as in LLaVA."""
        return [sample.words + 128 * bool(sample.images) for sample in self.samples.kept]

    @property
    def modality_lengths(self) -> list[int]:
        """Words of each sample, negative where it has no picture; one without a word counts as one."""
        return [max(sample.words, 1) * (1 if sample.images else -1) for sample in self.samples.kept]

    def __getitem__(self, i: int) -> dict[str, Any]:
        """One sample.

        Returns:
            input_ids and labels (L,) int64; image: (3, h, w) or (v, 3, h, w) pixels of its picture, a list of them
            where it has several; image_size: (width, height), or a list. A text sample of a run with a vision tower
            has an image of zeros, (3, h, w), and its size is that of a view.
        """
        sample = self.samples.kept[i]
        encoded = self.encoder(list(sample.messages), bool(sample.images))
        item: dict[str, Any] = {
            "input_ids": torch.tensor(encoded.input_ids),
            "labels": torch.tensor(encoded.labels),
        }
        if self.data_args.image_processor is not None:
            item |= self._pictures(sample)
        return item

    def _pictures(self, sample: Sample) -> dict[str, Any]:
        processor = self.data_args.image_processor
        if not sample.images:
            side = view_edge(processor)
            return {"image": torch.zeros(3, side, side), "image_size": (side, side)}
        folder = self.data_args.image_folder
        pictures = [open_image(os.path.join(folder, name)) for name in sample.images]
        pixels = [process_images([picture], processor, self.data_args)[0] for picture in pictures]
        sizes = [picture.size for picture in pictures]
        return (
            {"image": pixels, "image_size": sizes} if len(pixels) > 1 else {"image": pixels[0], "image_size": sizes[0]}
        )


class DataCollatorForSupervisedDataset:
    """LLaVA's collator: rows padded on the right and cut to `model_max_length`.

    Attributes:
        tokenizer: with `pad_token_id` and `model_max_length`.
    """

    def __init__(self, tokenizer: Any, official_masking: bool = False) -> None:
        self.tokenizer, self.official = tokenizer, official_masking

    def __call__(self, instances: list[Mapping[str, Any]]) -> dict[str, Any]:
        """A batch: input_ids, labels (B, L) int64, attention_mask (B, L) bool; images and image_sizes where there are.

        `images` is one tensor where all have the same shape, else a list, in the order of the rows.
        """
        pad, longest = self.tokenizer.pad_token_id, self.tokenizer.model_max_length
        ids = [item["input_ids"] for item in instances]
        padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=pad)[:, :longest]
        labels = [item["labels"] for item in instances]
        lengths = torch.tensor([len(row) for row in ids])
        batch: dict[str, Any] = {
            "input_ids": padded,
            "labels": torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)[:, :longest],
            # LLaVA takes every pad id for padding, also an <unk> that stands in the text.
            "attention_mask": padded != pad if self.official else torch.arange(padded.shape[1]) < lengths[:, None],
        }
        if "image" in instances[0]:
            images = [image for item in instances for image in _each(item["image"])]
            alike = len({image.shape for image in images}) == 1
            batch["images"] = torch.stack(images) if alike else images
            batch["image_sizes"] = [size for item in instances for size in _each(item["image_size"])]
        return batch


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def make_supervised_data_module(tokenizer: Any, data_args: Any) -> dict[str, Any]:
    """LLaVA's call: what its trainer takes, `train_dataset`, `eval_dataset` (none) and `data_collator`."""
    dataset = LazySupervisedDataset(data_args.data_path, tokenizer, data_args)
    collator = DataCollatorForSupervisedDataset(tokenizer, bool(getattr(data_args, "official_masking", False)))
    return {"train_dataset": dataset, "eval_dataset": None, "data_collator": collator}
