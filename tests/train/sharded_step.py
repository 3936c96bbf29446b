"""One step of a LLaVA whose weights are shared out over processes by torch's `fully_shard`; writes its gradients.

Run by test_several_devices under torchrun: accelerate shards on accelerators only, so on a CPU torch does it itself.
"""

import sys
from pathlib import Path

import torch.distributed as dist
from safetensors.torch import save_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from llava.train.flags import parse
from llava.train.train import make_trainer


def main(folder: str, *flags: str) -> None:
    trainer = make_trainer(parse(flags))
    model = trainer.llava.train()
    if not dist.is_initialized():
        dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    own = trainer.data_collator([trainer.train_dataset[dist.get_rank()]])
    model(**own).loss.backward()
    whole = {
        name: parameter.grad.full_tensor() for name, parameter in model.named_parameters() if parameter.grad is not None
    }
    if dist.get_rank() == 0:
        save_file(whole, Path(folder) / "gradients.safetensors")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
