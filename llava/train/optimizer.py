"""Groups of parameters for the optimiser: what decays, and whose learning rate is its own."""

from collections.abc import Iterable
from typing import Any

from torch import nn

PROJECTOR, TOWER = "mm_projector", "vision_tower"


def parameter_groups(model: nn.Module, decaying: Iterable[str], args: Any) -> list[dict[str, Any]]:
    """LLaVA's groups, in its order; some may be empty.

    Args:
        decaying: names of parameters that weight decay acts on.
        args: `weight_decay`, `mm_projector_lr`, `mm_vision_tower_lr` (with it the tower's own groups, as PyramidDrop's
            LLaVA-NeXT training has them), `unfreeze_mm_vision_tower` (then the projector has groups of its own),
            `learning_rate`.

    Returns:
        dicts of params (a list), weight_decay, and lr where it is the group's own.
    """
    decays = set(decaying)
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    rates: dict[str, float | None] = {"": None}
    tower_lr = getattr(args, "mm_vision_tower_lr", None)
    projector_lr = args.mm_projector_lr
    if projector_lr is None and (tower_lr is not None or getattr(args, "unfreeze_mm_vision_tower", False)):
        projector_lr = args.learning_rate
    if tower_lr is not None:
        rates[TOWER] = tower_lr
    if projector_lr is not None:
        rates[PROJECTOR] = projector_lr

    def part(name: str) -> str:
        return next((key for key in (PROJECTOR, TOWER) if key in rates and key in name), "")

    # Language model and tower share their two kinds of groups: first all that decays, then all that does not.
    shared = [key for key in ("", TOWER) if key in rates]
    order = [(key, decay) for decay in (True, False) for key in shared]
    order += [(PROJECTOR, decay) for decay in (True, False) if PROJECTOR in rates]
    groups = []
    for key, decay in order:
        own = [parameter for name, parameter in trained if part(name) == key and (name in decays) is decay]
        group: dict[str, Any] = {"params": own, "weight_decay": args.weight_decay if decay else 0.0}
        if rates[key] is not None:
            group["lr"] = rates[key]
        groups.append(group)
    return groups
