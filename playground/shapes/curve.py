"""Draw a run: the loss of each stage, and what held-out data said meanwhile.

    python -m playground.shapes.curve --run playground/shapes/run --output playground/shapes/llava-shapes

With --attempts also draw the held-out accuracy of earlier runs' last stage beside this one's.
"""

import json
from pathlib import Path
from typing import Any

from llava.errors import InputError
from llava.eval.runs.command import Parser, run
from llava.files.reading import read_json
from playground.shapes.stages import STAGES

Log = dict[str, dict[str, list[dict[str, float]]]]


def read_run(folder: Path) -> Log:
    """Loss and held-out log of every stage that has one; of a run that goes on, from its last checkpoint."""
    log: Log = {}
    for stage in STAGES:
        states = sorted(folder.glob(f"{stage.name}/checkpoint-*/trainer_state.json"), key=_step)
        if not states:
            continue
        history = read_json(str(states[-1]), "a trainer's state")["log_history"]
        held = folder / f"{stage.name}.held_out.jsonl"
        lines = held.read_text().splitlines() if held.is_file() else []
        log[stage.name] = {
            "loss": [{"step": entry["step"], "loss": entry["loss"]} for entry in history if "loss" in entry],
            "held_out": [json.loads(line) for line in lines],
        }
    if not log:
        raise InputError(f"a run must have a checkpoint: '{folder}' has none; give the --output of the training")
    return log


def _step(path: Path) -> int:
    return int(path.parent.name.split("-")[1])


def plot(log: Log, path: Path, title: str) -> None:
    """One column per stage: loss above, held-out percentages below: of right answers, or of attention on things."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(log), 6), layout="constrained")
    axes = figure.subplots(2, len(log), squeeze=False, sharex="col")
    for column, (name, stage) in enumerate(log.items()):
        loss, held = axes[0][column], axes[1][column]
        loss.plot([entry["step"] for entry in stage["loss"]], [entry["loss"] for entry in stage["loss"]], linewidth=1)
        loss.set(title=name, ylabel="training loss", yscale="log")
        for kind in _percentages(stage["held_out"]):
            wide = 2.5 if kind == "all" else 1
            steps = [entry["step"] for entry in stage["held_out"]]
            held.plot(steps, [entry[kind] for entry in stage["held_out"]], label=kind, linewidth=wide)
        held.set(xlabel="step", ylabel="held out, %", ylim=(0, 101))
        if held.lines:
            held.legend(fontsize=7)
    figure.suptitle(title)
    figure.savefig(path, dpi=100)


def plot_attempts(log: Log, earlier: list[dict[str, Any]], path: Path, name: str) -> None:
    """Held-out accuracy over the steps of questions, a line for every attempt; questions asked alone come last.

    Args:
        earlier: records with `name` and `held_out`, the latter with `step` and `all` (per cent).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    held = list(log["questions"]["held_out"])
    alone = log["alone"]["held_out"] if "alone" in log else []
    held += [entry | {"step": held[-1]["step"] + entry["step"]} for entry in alone]
    attempts = [*earlier, {"name": name, "held_out": held}]
    for attempt in attempts:
        entries = attempt["held_out"]
        steps, right = ([entry[key] for entry in entries] for key in ("step", "all"))
        axes.plot(steps, right, marker=".", label=attempt["name"])
    axes.set(xlabel="step of the stages questions and alone", ylabel="held out, % right", ylim=(0, 101))
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=100)


def _percentages(entries: list[dict[str, Any]]) -> list[str]:
    others = ("step", "seconds", "contrast", "seen", "gathered", "changed")
    return [key for key in (entries[0] if entries else {}) if key not in others]


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m playground.shapes.curve", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--run", default="playground/shapes/run", help="the --output of the training")
    parser.add_argument("--output", default="playground/shapes/llava-shapes", help="folder to write to")
    parser.add_argument("--name", default="training", help="stem of the files NAME.json and NAME.png")
    parser.add_argument("--onto", help="the NAME.json of the run whose model this one went on from")
    parser.add_argument("--attempts", help="JSON list of earlier runs, each with name and held_out; also drawn")
    args = parser.parse_args()
    log = (read_json(args.onto, "a run's log") if args.onto else {}) | read_run(Path(args.run))
    (Path(args.output) / f"{args.name}.json").write_text(json.dumps(log) + "\n")
    plot(log, Path(args.output) / f"{args.name}.png", f"llava-shapes: {args.name}")
    if args.attempts:
        plot_attempts(log, read_json(args.attempts, "earlier runs"), Path(args.output) / "attempts.png", "this model")


if __name__ == "__main__":
    run(main)
