"""Batches of one modality and of like length: the order of LLaVA's `--group_by_modality_length`.

Facts: LLaVA c121f04, `llava/train/llava_trainer.py`. Equal seeds give LLaVA's order, index by index.
"""

from collections.abc import Iterator, Sequence

import torch
from accelerate.utils import synchronize_rng_states
from torch.utils.data import Sampler


def split_to_even_chunks(indices: Sequence[int], lengths: Sequence[int], num_chunks: int) -> list[list[int]]:
    """A block of samples in chunks of as many, of like total length.

    Args:
        indices: sorted by length; if they cannot be shared out evenly, chunk j gets every `num_chunks`-th from j on.
        lengths: of all samples.
    """
    if len(indices) % num_chunks:
        return [list(indices[chunk::num_chunks]) for chunk in range(num_chunks)]
    size = len(indices) // num_chunks
    chunks: list[list[int]] = [[] for _ in range(num_chunks)]
    totals = [0.0] * num_chunks
    for index in indices:
        shortest = totals.index(min(totals))
        chunks[shortest].append(index)
        totals[shortest] = totals[shortest] + lengths[index] if len(chunks[shortest]) < size else float("inf")
    return chunks


def get_length_grouped_indices(
    lengths: Sequence[int], batch_size: int, world_size: int, generator: torch.Generator | None = None
) -> list[int]:
    """A random order in which samples of like length follow each other.

    Args:
        lengths: of each sample.
        batch_size: of one device.
        world_size: devices times accumulated batches.
        generator: None: torch's own.
    """
    shuffled = torch.randperm(len(lengths), generator=generator).tolist()
    size = world_size * batch_size
    order: list[int] = []
    for start in range(0, len(lengths), size):
        block = sorted(shuffled[start : start + size], key=lambda index: lengths[index], reverse=True)
        for chunk in split_to_even_chunks(block, lengths, world_size):
            order += chunk
    return order


def get_modality_length_grouped_indices(
    lengths: Sequence[int], batch_size: int, world_size: int, generator: torch.Generator | None = None
) -> list[int]:
    """As `get_length_grouped_indices`, with blocks of samples with pictures and of samples without.

    Args:
        lengths: negative for samples without a picture; none is zero.

    The last block of each kind comes at the end, the two put together in the order of the file.
    """
    if all(length > 0 for length in lengths) or all(length < 0 for length in lengths):
        return get_length_grouped_indices(lengths, batch_size, world_size, generator)
    size = world_size * batch_size
    blocks: list[list[int]] = []
    last: list[int] = []
    for sign in (1, -1):
        own = [index for index, length in enumerate(lengths) if length * sign > 0]
        grouped = get_length_grouped_indices([abs(lengths[i]) for i in own], batch_size, world_size, generator)
        order = [own[place] for place in grouped]
        cut = [order[start : start + size] for start in range(0, len(order), size)]
        blocks += cut[:-1]
        last += cut[-1]
    chosen = torch.randperm(len(blocks), generator=generator).tolist()
    return [index for number in chosen for index in blocks[number]] + sorted(last)


class LengthGroupedSampler(Sampler):
    """LLaVA's sampler: an order anew for each epoch.

    Args:
        batch_size: of one device.
        world_size: devices times accumulated batches.
        lengths: of each sample; with `group_by_modality` negative for those without a picture.
        generator: None: torch's own, which a run seeds.
    """

    def __init__(
        self,
        batch_size: int,
        world_size: int,
        lengths: Sequence[int] | None = None,
        generator: torch.Generator | None = None,
        group_by_modality: bool = False,
    ) -> None:
        assert lengths is not None, "lengths must be given"
        self.batch_size, self.world_size, self.lengths = batch_size, world_size, lengths
        self.generator, self.group_by_modality = generator, group_by_modality

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        grouped = get_modality_length_grouped_indices if self.group_by_modality else get_length_grouped_indices
        return iter(grouped(self.lengths, self.batch_size, self.world_size, self.generator))


class RememberedOrder(Sampler):
    """A sampler whose order a run can go on with in the middle of an epoch, and that all devices share.

    Every device works the order out from torch's own generator, which all begin an epoch with in the first one's state:
    their order is that of one device which accumulates their batches. A bare sampler with an attribute `generator`
    would be given a generator of its own by accelerate, and by that another order.

    Attributes:
        began: the generator's state that this epoch's order was drawn from.
        again: the state that the next order is drawn from; None: the generator's own.
    """

    def __init__(self, sampler: Sampler, devices: int) -> None:
        self._sampler, self._devices = sampler, devices
        self.began: torch.Tensor | None = None
        self.again: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self._sampler)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[int]:
        if self.again is not None:
            torch.set_rng_state(self.again)
            self.again = None
        if self._devices > 1:
            synchronize_rng_states(["torch"])
        self.began = torch.get_rng_state()
        return iter(self._sampler)
