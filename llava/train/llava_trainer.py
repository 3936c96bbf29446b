"""transformers' Trainer with LLaVA's order of samples, groups of parameters, loss and files."""

import os
from typing import Any

import torch
from torch.utils.data import RandomSampler
from transformers import Trainer

from llava.constants import IGNORE_INDEX
from llava.model.attention_kernels import runs_without_cudnn
from llava.train.optimizer import parameter_groups
from llava.train.progress import Progress, Rates
from llava.train.sampler import LengthGroupedSampler, RememberedOrder
from llava.train.saving import Base, Mode, load_weights, save_weights
from llava.train.sharding import KeepAskedLayers

TRAINING_ARGS = "training_args.bin"
ORDER = "order_state.pth"  # torch's generator, from which the order of an epoch that is not over was drawn


class LLaVATrainer(Trainer):
    """LLaVA's trainer.

    Args:
        llava: the LLaVA that is trained, inside a wrapper or not; None: the model.
        mode: which files a checkpoint holds.
        base: what the run starts from; None: nothing was added to it.
    """

    def __init__(
        self, *args: Any, llava: Any = None, mode: Mode = "full", base: Base | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.llava, self.mode, self.base = llava if llava is not None else self.model, mode, base
        # The mean over the batches that are accumulated, each a mean over its own targets, as in LLaVA.
        self.model_accepts_loss_kwargs = False
        self._rates = Rates()
        self._order: RememberedOrder | None = None
        self._again: torch.Tensor | None = None
        self.add_callback(Progress())
        if hasattr(self.llava, "reduction"):
            self.add_callback(KeepAskedLayers(self.llava))
        self._silent = torch.zeros((), dtype=torch.long, device=self.args.device)

    @property
    def silent_batches(self) -> int:
        """Batches so far in which nothing was left to train on."""
        return int(self._silent)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        dataset = train_dataset if train_dataset is not None else self.train_dataset
        if dataset is not None and self.args.group_by_modality_length:
            devices = self.args.world_size * self.args.gradient_accumulation_steps
            own: Any = LengthGroupedSampler(
                self.args.train_batch_size, devices, lengths=dataset.modality_lengths, group_by_modality=True
            )
        else:
            own = super()._get_train_sampler(dataset)
        if not isinstance(own, LengthGroupedSampler | RandomSampler):
            return own
        self._order = RememberedOrder(own, self.args.world_size)
        self._order.again, self._again = self._again, None
        return self._order

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The optimiser that the arguments name, over LLaVA's groups."""
        made: torch.optim.Optimizer | None = self.optimizer  # type: ignore[has-type]
        if made is None:
            trained = self.model if model is None else model
            groups = parameter_groups(trained, self.get_decay_parameter_names(trained), self.args)
            kind, settings = self.get_optimizer_cls_and_kwargs(self.args, trained)
            made = self.optimizer = kind(groups, **settings)
        return made

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss of a batch; zero where nothing in it is trained on, and counted."""
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
        trained_on = outputs.get("supervised")  # behind the cut of a row with its image tokens
        if trained_on is None:  # of a language model without eyes
            trained_on = (inputs["labels"][:, 1:] != IGNORE_INDEX).any()
        self._silent += ~trained_on
        self._rates.add(inputs["attention_mask"])
        loss = torch.where(trained_on, loss, 0.0)  # a mean over no target is no number; its gradients are zero
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """The trainer's log, with samples and tokens per second."""
        rates = self._rates.said(self.args.world_size) if "loss" in logs else {}
        super().log(logs | rates, *args, **kwargs)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        if not self.args.should_save:
            return
        folder = output_dir if output_dir is not None else self.args.output_dir
        assert folder is not None
        save_weights(self.model, self.llava, self.mode, folder, state_dict, self.base)
        if self.processing_class is not None:
            self.processing_class.save_pretrained(folder)
        torch.save(self.args, f"{folder}/{TRAINING_ARGS}")
        if self._order is not None and self._order.began is not None and (self.state.epoch or 0) % 1:
            torch.save(self._order.began, f"{folder}/{ORDER}")  # in the middle of an epoch, its order goes on

    @runs_without_cudnn
    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Trainer's; a run that goes on inside an epoch goes on in that epoch's order.

        Layers that are computed again on the way back take the kernel that they took on the way there.
        """
        path = os.path.join(str(resume_from_checkpoint), ORDER)
        self._again = torch.load(path, weights_only=True) if resume_from_checkpoint and os.path.isfile(path) else None
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            load_weights(self.model, self.llava, self.mode, resume_from_checkpoint)
