"""What the Trainer's parts refuse is known before a model is loaded, and what they would pass over is refused too."""

from pathlib import Path

import pytest
from training_runs import flags

from llava.errors import InputError
from llava.train.flags import parse
from llava.train.rehearsal import rehearse

POLYNOMIAL = ("--lr_scheduler_type", "polynomial", "--lr_scheduler_kwargs")
REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "a list for settings": (("--lr_scheduler_kwargs", "[1]"), "mapping"),
    "an unknown setting": (("--lr_scheduler_kwargs", '{"no": 1}'), "'no'"),
    "a text for a number": (("--lr_scheduler_kwargs", '{"num_cycles": "a"}'), "'a'"),
    "an end above the beginning": ((*POLYNOMIAL, '{"lr_end": 1}'), "lr_end"),
    "no rate": ((*POLYNOMIAL, '{"power": -Infinity}'), "must lead to learning rates: got inf"),
    "no arithmetic": ((*POLYNOMIAL, '{"power": -5e3}'), "fit together"),
    "a schedule without its settings": (("--lr_scheduler_type", "warmup_stable_decay"), "num_decay_steps"),
    "an optimiser that is not there": (("--optim", "lomo"), "lomo"),
    "torn settings": (("--optim_args", "x"), "fit together"),
    "settings nobody reads": (("--optim_args", "betas=7"), "--optim adamw_torch takes none"),
    "workers that stay": (("--dataloader_persistent_workers", "True"), "persistent_workers"),
    "prefetching": (("--dataloader_prefetch_factor", "-2", "--dataloader_num_workers", "1"), "prefetch_factor"),
    "checkpointing": (("--gradient_checkpointing_kwargs", '{"nope": true}'), "nope"),
    "checkpointing without settings": (("--gradient_checkpointing_kwargs", "true"), "must be a JSON object"),
    "a compiler": (("--torch_compile_backend", "none_such"), "none_such".upper()),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_parts_refuse_is_one_line(name: str, tmp_path: Path) -> None:
    more, said = REFUSED[name]
    with pytest.raises(InputError) as refused:
        rehearse(parse(flags(tmp_path, *more)).training)
    assert said in str(refused.value) and "\n" not in str(refused.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("--gradient_checkpointing", "True", "--gradient_checkpointing_kwargs", '{"use_reentrant": true}'),
        ("--lr_scheduler_type", "cosine_with_min_lr", "--lr_scheduler_kwargs", '{"min_lr_rate": 0.1}'),
        ("--dataloader_num_workers", "2", "--dataloader_persistent_workers", "True"),
        ("--optim", "sgd", "--lr_scheduler_type", "inverse_sqrt", "--warmup_steps", "5"),
    ],
)
def test_what_can_be_done_leaves_nothing(more: tuple[str, ...], tmp_path: Path) -> None:
    given = parse(flags(tmp_path, *more)).training
    before = {name: str(value) for name, value in vars(given).items()}
    rehearse(given)
    assert {name: str(value) for name, value in vars(given).items()} == before and not (tmp_path / "out").exists()
