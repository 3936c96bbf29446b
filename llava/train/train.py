"""Train a LLaVA: `python -m llava.train.train`, with the flags of LLaVA's own.

Pre-training of the projector, full and LoRA fine-tuning, QLoRA; any reduction method in the loop (`--method`).
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import transformers

from llava.errors import InputError
from llava.eval.runs.command import run
from llava.image_config import check_image_config
from llava.image_processor import check_view_edge
from llava.model.checkpoint.config import make_config, read_raw_config
from llava.model.checkpoint.families import family_of
from llava.model.checkpoint.folder import Folder
from llava.model.geometry import geometry_of
from llava.model.multimodal_encoder.image_processor import build_image_processor
from llava.model.multimodal_encoder.scales import feature_width, view_size
from llava.model.multimodal_encoder.source import locate_tower
from llava.train.beginning import check_goes_on, remember
from llava.train.checks import check_supported
from llava.train.data.dataset import make_supervised_data_module
from llava.train.data.samples import Samples
from llava.train.eyes import check_eyes, check_projector
from llava.train.flags import Arguments, parse
from llava.train.llava_trainer import LLaVATrainer
from llava.train.model import next_pinpoints, prepare_model, training_tokenizer
from llava.train.modules import trained_share
from llava.train.numbers import StopAtNoNumber
from llava.train.output import check_mode
from llava.train.rehearsal import rehearse
from llava.train.saving import checkpoint_to_resume, mode_of
from llava.train.wording import in_flags

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """What `train` gives back: the trainer after its last step, and the folder that it wrote."""

    trainer: LLaVATrainer
    output_dir: str


def train(argv: Sequence[str] | None = None, attn_implementation: str | None = None) -> Result:
    """LLaVA's training function.

    Args:
        argv: flags; None: those of the command line.
        attn_implementation: in the place of the flag, as LLaVA's `train_mem.py` passes it.

    Raises:
        InputError: for flags or data that make no sense, before anything is loaded.
    """
    given = parse(sys.argv[1:] if argv is None else argv)
    if attn_implementation is not None:
        given.training.attn_implementation = attn_implementation
        check_supported(given.training, given.model.vision_tower is not None)
    resumed = checkpoint_to_resume(given.training)
    if resumed is not None:
        check_mode(resumed, mode_of(given.model, given.training))
        _tell(given.training, "going on from %s", resumed)
    rehearse(given.training)
    trainer = make_trainer(given, resumed)
    if resumed is None:
        remember(given, len(trainer.train_dataset))
    trainer.train(resume_from_checkpoint=resumed)
    finish(trainer)
    return Result(trainer, str(given.training.output_dir))


def make_trainer(given: Arguments, resumed: str | None = None) -> LLaVATrainer:
    """A run before its first step: data judged, model loaded, what is trained chosen.

    Args:
        resumed: the checkpoint that it goes on from.
    """
    training = given.training
    transformers.set_seed(training.seed)
    with in_flags():
        tokenizer = training_tokenizer(given.model, training)
        module = make_supervised_data_module(tokenizer, data_arguments(given))
    if resumed is not None:
        check_goes_on(resumed, given, len(module["train_dataset"]))
    _tell_samples(training, module["train_dataset"].samples)
    _check_batches(len(module["train_dataset"]), training)
    prepared = prepare_model(given, tokenizer)
    mode = mode_of(given.model, training)
    trained, held = trained_share(prepared.model)
    _tell(training, "training %d of %d numbers (%s) with method %s", trained, held, mode, given.method.name)
    own = {"llava": prepared.llava, "mode": mode, "base": prepared.base}
    trainer = LLaVATrainer(model=prepared.model, processing_class=tokenizer, args=training, **own, **module)
    trainer.add_callback(StopAtNoNumber())
    return trainer


def finish(trainer: LLaVATrainer) -> None:
    """Write the end of a run into its folder."""
    trainer.save_state()
    trainer.llava.config.use_cache = True
    trainer.save_model(trainer.args.output_dir)
    if trainer.silent_batches:
        logger.warning("%d batches had nothing to train on after the cut at model_max_length", trainer.silent_batches)


def data_arguments(given: Arguments) -> Any:
    """What the dataset needs to know, from the flags and the tower's files."""
    settings = vars(given.data) | {"version": given.model.version, "image_processor": None}
    settings["mm_use_im_start_end"] = given.model.mm_use_im_start_end
    if given.model.vision_tower is not None:
        source = locate_tower(given.model.vision_tower, str(given.model.model_name_or_path))
        path = str(given.model.model_name_or_path)
        raw = read_raw_config(Folder(path))
        check_projector(raw, given.model.mm_projector_type)
        config = make_config(raw, path, family_of(raw, path, plain=True))
        for name, value in (settings | vars(given.model)).items():
            setattr(config, name, value)
        edge, width = view_size(config, source.config), feature_width(config, source.config)
        settings["image_processor"] = build_image_processor(source, edge)
        check_view_edge(settings["image_processor"], edge)
        if given.data.image_aspect_ratio == "anyres" and not given.data.image_grid_pinpoints:
            config.image_grid_pinpoints = next_pinpoints(edge)
            settings["image_grid_pinpoints"] = config.image_grid_pinpoints
        # What cannot be is refused before weights are read: forms of pictures, and a method that does not fit.
        check_image_config(config, edge, width)
        check_eyes(given.model, config, width)
        geometry = geometry_of(config, source.config)
        tokens = given.method.build(geometry).tokens_per_stage(geometry)[0]
        _tell_room(given.training, min(tokens, geometry.patches))
        _tell_projector(given, raw)
    elif given.data.image_folder is not None:
        raise InputError("--image_folder is for a model that sees: got no --vision_tower; give one or leave it out")
    return SimpleNamespace(**settings)


def _tell(training: Any, text: str, *values: Any) -> None:
    """Say something once, whatever the number of devices."""
    if training.process_index == 0:
        logger.warning(text, *values)


def _tell_samples(training: Any, samples: Samples) -> None:
    if samples.silent:
        named = ", ".join(map(str, samples.silent[:10])) + (", ..." if len(samples.silent) > 10 else "")
        _tell(training, "%d samples have no answer to train on and are left out: %s", len(samples.silent), named)


def _tell_projector(given: Arguments, raw: Mapping[str, Any]) -> None:
    new = "mm_vision_tower" not in raw and given.model.pretrain_mm_mlp_adapter is None
    if new and not given.model.tune_mm_mlp_adapter:
        _tell(
            given.training,
            "the projector begins with random numbers: published recipes take a pretrained one (PROJECTOR, "
            "--pretrain_mm_mlp_adapter)",
        )


def _tell_room(training: Any, tokens: int) -> None:
    if tokens >= training.model_max_length:
        text = (
            "--model_max_length %d leaves no room for an answer behind a picture of %d tokens: nothing is learned from "
        )
        _tell(training, text + "samples with pictures; LLaVA's recipes take 2048", training.model_max_length, tokens)


def _check_batches(samples: int, training: Any) -> None:
    together = training.per_device_train_batch_size * training.world_size
    if training.dataloader_drop_last and samples < together:
        raise InputError(
            f"--dataloader_drop_last True leaves out a batch that is not full: got {samples} samples for a batch of "
            f"{together} on all devices; leave it out, or make the batch smaller"
        )


def main() -> None:
    """The command."""
    train()


if __name__ == "__main__":
    run(main)
