"""What the picture of kept patches shows is what was kept, and is drawn where it is in the picture."""

from pathlib import Path

import numpy as np
import pytest
import torch
from commands import TINY, call
from conftest import PARITY, Load, sample
from PIL import Image, ImageDraw
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from llava.eval.pictures.canvas import Rect, canvas_of
from llava.eval.pictures.kept_figure import DROPPED, overlays, ranks
from llava.eval.pictures.kept_tokens import Stage, Token, stages_of
from llava.mm_utils import process_images
from llava.model.trace import Trace
from llava.reduction import method_class

pytestmark = pytest.mark.shallow


def traced(load: Load, checkpoint: str, method: str, retain: int | None = None) -> tuple[Trace, list[Stage]]:
    """A question under a method, and its stages."""
    loaded = load(checkpoint)
    model, asked = loaded.model, sample(loaded, "What is it?", "1.png")
    kind, trace = method_class(method), Trace()
    reduction = kind() if retain is None else kind.from_budget(retain, model.geometry)
    model.generate(
        asked.input_ids, images=asked.images, image_sizes=asked.image_sizes, reduction=reduction, trace=trace,
        do_sample=False, max_new_tokens=1,
    )  # fmt: skip
    views = len(asked.images[0]) if asked.images[0].ndim == 4 else 1
    return trace, stages_of(trace, views, model.get_vision_tower().num_patches)


@pytest.mark.parametrize(
    ("checkpoint", "retain"), [("llava-tiny-12l", 64), ("llava-tiny-next", 320)], ids=["one view", "tiles"]
)
def test_visiondrop_loses_no_patch_at_any_stage(load: Load, checkpoint: str, retain: int) -> None:
    trace, stages = traced(load, checkpoint, "visiondrop", retain)
    assert [stage.layer for stage in stages[1:]] == [stage.layer for stage in trace.stages] and len(stages) == 4
    entering = len(stages[0].tokens)
    for stage in stages:
        places = sorted(place for token in stage.tokens for place in token.places)
        assert len(places) == len(set(places))
        patches = {(view, patch) for view in range(1 + max(view for view, _ in places)) for patch in range(576)}
        assert set(places) == patches
    for stage, recorded in zip(stages[1:], trace.stages):
        [after], [before] = recorded.after.spans, recorded.before.spans
        assert len(stage.tokens) == after.length and stage.entering == before.length == entering
        entering = after.length


def test_contextual_tokens_hold_what_was_assigned_to_them(load: Load) -> None:
    trace, stages = traced(load, "llava-tiny-12l", "visionzip", 64)
    chosen = trace.encoder
    assert chosen is not None and chosen.merged is not None
    tokens = stages[0].tokens
    assert tokens[0] == Token(0, None)
    assert [token.patch for token in tokens[1:54]] == chosen.kept[0].tolist()
    for slot, token in enumerate(tokens[54:]):
        assert token.patch == int(chosen.merged.targets[0, slot])
        members = {at for at, into in enumerate(chosen.merged.assignment[0].tolist()) if into == slot}
        assert {patch for _, patch in token.places} == members and token.patch in members
    assert stages[0].scores is not None
    assert np.array_equal(stages[0].scores[0], chosen.scores[0].numpy())


def test_dropped_patches_are_gone_and_scores_stand_where_tokens_were(load: Load) -> None:
    trace, stages = traced(load, "llava-tiny-12l", "pyramiddrop", 64)
    assert stages[0].scores is None and len(stages[0].tokens) == 576
    left = torch.arange(576)
    for stage, recorded in zip(stages[1:], trace.stages):
        assert stage.scores is not None
        assert np.flatnonzero(~np.isnan(stage.scores[0])).tolist() == left.tolist()
        assert np.array_equal(stage.scores[0, left.numpy()], recorded.selection.scores[0].numpy())
        left = left[recorded.selection.kept[0]]
        assert [token.patch for token in stage.tokens] == left.tolist()


def test_newlines_of_tiles_have_no_place(load: Load) -> None:
    trace, [stage] = traced(load, "llava-tiny-next", "none")
    assert trace.layout is not None and len(stage.tokens) == trace.layout.spans[0].length
    assert [token.patch for token in stage.tokens[:576]] == list(range(576))
    lines = [number for number, token in enumerate(stage.tokens) if token.patch is None]
    steps = {after - before for before, after in zip(lines, lines[1:])}
    assert len(lines) > 10 and len(steps) == 1  # one at the end of every row of patches
    assert lines[-1] == len(stage.tokens) - 1


@pytest.mark.parametrize("size", [(300, 200), (200, 333), (336, 336), (500, 120)])
@pytest.mark.parametrize(
    ("checkpoint", "mode"), [("llava-tiny", "pad"), ("llava-tiny", None), ("llava-tiny-next", "anyres")]
)
def test_a_patch_is_drawn_where_the_tower_sees_it(
    load: Load, size: tuple[int, int], checkpoint: str, mode: str | None
) -> None:
    """A white spot on black: the brightest patch of every view must be drawn over the spot, and only there."""
    loaded = load(checkpoint)
    config = type(loaded.model.config)(
        image_aspect_ratio=mode, image_grid_pinpoints=getattr(loaded.model.config, "image_grid_pinpoints", None)
    )
    canvas = canvas_of(size, config, loaded.processor)
    spot = (0.45 * size[0], 0.55 * size[1])
    picture = Image.new("RGB", size)
    reach = 0.03 * max(size)
    ImageDraw.Draw(picture).rectangle(
        (spot[0] - reach, spot[1] - reach, spot[0] + reach, spot[1] + reach), fill="white"
    )
    pixels = process_images([picture], loaded.processor, config)[0]
    views = pixels if pixels.ndim == 4 else pixels[None]
    assert len(canvas.views) == len(views)
    light = torch.nn.functional.avg_pool2d(views.mean(dim=1, keepdim=True), 14).flatten(1)
    found = [divmod(int(view.argmax()), 24) if view.max() > view.mean() + 1 else None for view in light]
    seen = 0
    for number, (place, cell) in enumerate(zip(canvas.views, found)):
        if cell is None:
            continue
        seen += 1
        drawn = place.cell(*cell, 24)
        shift = canvas.pictures[min(number, 1) if len(views) > 1 else 0].left
        for low, high, middle in (
            (drawn.left - shift, drawn.right - shift, spot[0]),
            (drawn.top, drawn.bottom, spot[1]),
        ):
            assert low - reach <= middle <= high + reach
    assert seen >= (1 if mode != "anyres" else 2)


def test_a_processor_that_squeezes_shows_the_whole_picture(load: Load) -> None:
    config = type(load("llava-tiny").model.config)()
    for crop, view in ((336, Rect(0, 0, 300, 200)), (168, Rect(75, 50, 225, 150))):
        processor = CLIPImageProcessorPil(size={"height": 336, "width": 336}, crop_size=crop)
        assert canvas_of((300, 200), config, processor).views == (view,)


def test_frame_holds_padding_and_tiles(load: Load) -> None:
    loaded = load("llava-tiny")
    frame = canvas_of((300, 200), loaded.model.config, loaded.processor).frame
    assert (frame.left, frame.top, frame.right, frame.bottom) == (0, -50, 300, 250)
    loaded = load("llava-tiny-next")
    canvas = canvas_of((336, 672), loaded.model.config, loaded.processor)
    assert len(canvas.views) == 3 and canvas.views[1].top == 0 and canvas.views[2].bottom == 672
    assert canvas.pictures[1].left > 336 and canvas.views[1].left == canvas.pictures[1].left


def test_overlay_is_clear_pale_or_white() -> None:
    tokens = (Token(0, None), Token(0, 1), Token(1, 2, ((0, 0), (1, 3))))
    painted = overlays(tokens, [(1.0, 0.0, 0.0)], views=2, patches=4)
    kinds = [
        ["white" if np.allclose(p, DROPPED) else "clear" if p[3] == 0 else "red" for p in view] for view in painted
    ]
    assert kinds == [["red", "clear", "white", "white"], ["white", "white", "red", "red"]]


def test_ranks_leave_gaps() -> None:
    scores = np.array([[0.1, np.nan, 5.0], [0.3, 0.2, np.nan]], dtype=np.float32)
    assert np.allclose(ranks(scores), [[0, np.nan, 1], [2 / 3, 1 / 3, np.nan]], equal_nan=True)


def test_command_draws_a_row_for_every_method(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    flags = ["--model-path", TINY, "--image", PARITY / "images/1.png", "--question", "What is it?", "--device", "cpu"]
    flags += ["--max_new_tokens", 2, "--output", tmp_path / "new/kept.png"]
    one = call("visualize", capsys, *flags, "--retain", 64)
    assert one.code == 0 and one.out.startswith("visiondrop: 96, 70, 52, 38 tokens; 64.0 tokens on average answer:")
    height = Image.open(tmp_path / "new/kept.png").height
    several = call("visualize", capsys, *flags, "--retain", 64, "--seed", 3, "--compare", "random,none,pyramiddrop")
    assert [line.split(" tokens;")[0] for line in several.out.splitlines()[:-1]] == [
        "visiondrop: 96, 70, 52, 38", "random: 64", "none: 576", "pyramiddrop: 576, 120, 24, 5",
    ]  # fmt: skip
    assert several.out.splitlines()[-1] == f"written to {tmp_path}/new/kept.png"
    assert Image.open(tmp_path / "new/kept.png").height > 3 * height


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--dominant", 5, "--contextual", 1, "--layer_list", "[3]", "--image_token_list", "[[2,1]]", "--compare",
          "visionzip"], "--compare needs a budget that it gives to every method: got visionzip"),
        (["--retain", 64, "--compare", "fastest"], "unknown reduction method 'fastest'"),
        (["--retain", 64, "--image", "nothing.png"], "image file 'nothing.png' does not exist"),
        (["--retain", 32, "--compare", "pyramiddrop"], "got 32, expected more than 48"),
        (["--retain", 64, "--conv-mode", "v9"], "v9"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture, flags: list[object], complaint: str
) -> None:
    known = [
        "--model-path",
        TINY,
        "--image",
        PARITY / "images/1.png",
        "--question",
        "What?",
        "--output",
        tmp_path / "a",
    ]
    done = call("visualize", capsys, *known, *flags)
    assert done.code == 2 and complaint in done.err and done.err.count("\n") == 0
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("command", "flags"),
    [("curve", []), ("visualize", ["--image", "a.png", "--question", "What?", "--output", "b.png", "--retain", 64])],
)
def test_away_from_the_repository_commands_say_where_the_model_is(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, command: str, flags: list[object]
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call(command, capsys, *flags)
    assert done.code == 2 and "'playground/shapes/llava-shapes' is not in" in done.err


def test_diagram_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    done = call("diagram", capsys, "--output", tmp_path / "method.png", "--retain", 28, "--layers", 8, "--patches", 256)
    assert done == (0, f"written to {tmp_path}/method.png\n", "")
    assert Image.open(tmp_path / "method.png").width > 1000
    assert call("diagram", capsys, "--output", tmp_path / "b.png", "--retain", 1).code == 2
