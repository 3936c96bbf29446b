"""Steps of a LLaVA whose weights are shared out over processes by torch's `fully_shard`.

accelerate shards on accelerators only, so on a CPU torch does it itself, in the units that accelerate would make.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from llava.reduction import create
from llava.train.flags import parse
from llava.train.llava_trainer import LLaVATrainer
from llava.train.sharding import keep_asked
from llava.train.train import make_trainer, train

LAYERS, RATIOS = [8, 16, 24], [0.5, 0.25, 0.125]
# Of the encoder, of the question, of patches that are merged, and of the layer that has just run.
METHODS = {
    "none": {},
    "visionzip": {"dominant": 54, "contextual": 10},
    "pyramiddrop": {"layer_list": LAYERS, "image_token_ratio_list": RATIOS},
    "visiondrop": {
        "dominant": 42,
        "contextual": 6,
        "layer_list": LAYERS,
        "image_token_list": [[30, 5], [22, 4], [16, 3]],
    },
    "fastv": {},
}


def gradients(trainer: LLaVATrainer, samples: list[int], share: int = 1) -> Iterator[dict[str, torch.Tensor]]:
    """For each method the gradients of a step over samples one by one, each loss divided by `share`."""
    model = trainer.llava.train()
    for name, settings in METHODS.items():
        model.reduction = create(name, **settings)
        keep_asked(model)
        model.zero_grad()
        for number in samples:
            batch = trainer.data_collator([trainer.train_dataset[number]])
            (model(**batch).loss / share).backward()
        yield {key: p.grad for key, p in model.named_parameters() if p.grad is not None}


def by_deepspeed(argv: list[str]) -> None:
    """A run on a CPU with weights or their gradients shared out by DeepSpeed, which is told what it finds by itself."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed

    deepspeed.init_distributed(dist_backend="gloo")
    train(argv)


def shared_out(folder: str, argv: list[str]) -> None:
    """The gradients of a device's own sample, the mean over devices, written by the first one."""
    trainer = make_trainer(parse(argv))
    model = trainer.llava
    if not dist.is_initialized():
        dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for module in reversed(list(model.modules())):
        if type(module).__name__ in model._no_split_modules:
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)
    for name, own in zip(METHODS, gradients(trainer, [dist.get_rank()])):
        whole = {key: gradient.full_tensor() for key, gradient in own.items()}
        if dist.get_rank() == 0:
            save_file(whole, Path(folder) / f"{name}.safetensors")
    dist.destroy_process_group()
