"""What image tokens receive, layer by layer: against the matrices of transformers' own attention, and the command."""

import copy
import json
from pathlib import Path

import pytest
import torch
from commands import call, questions, small_benchmark
from conftest import PARITY, Load

from llava.eval.attention import pair_of
from llava.eval.misalignment.numbers import Layer, by_place, overlaps
from llava.eval.misalignment.probe import Probe, Rows
from llava.eval.model_vqa_loader import read_questions
from llava.eval.runs.inputs import collate
from llava.eval.runs.loading import Loaded
from llava.reduction import Geometry
from llava.reduction.schedule import average_tokens

pytestmark = pytest.mark.shallow


def test_places_share_out_what_is_received() -> None:
    scores = torch.tensor([[0.1, 0.1, 0.2, 0.4], [0.3, 0.1, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    shares = by_place(scores, (4, 2, 4), 2)
    assert torch.allclose(shares, torch.tensor([[0.25, 0.75], [0.75, 0.25], [0.5, 0.5]]))


def test_overlap_is_the_part_of_the_top_that_both_have() -> None:
    one = torch.tensor([[4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 0.0, 0.0]])
    other = torch.tensor([[4.0, 1.0, 2.0, 3.0], [2.0, 1.0, 9.0, 9.0]])  # what is beyond an image does not count
    assert overlaps(one, other, (4, 2), (2, 1)).tolist() == [0.5, 0.0]


def test_means_are_over_pictures() -> None:
    rows = [
        Rows(3, *(torch.tensor([[0.1, 0.3]]) for _ in range(3)), (2,)),
        Rows(3, torch.tensor([[0.2, 0.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), (2,)),
    ]
    layer = Layer(3, bins=4)
    for one in rows:
        layer.add(one, top=0.5)
    record = layer.as_record()
    assert record["layer"] == 3 and record["overlap"] == 0.5 and record["chance"] == 0.5
    assert record["text_to_image_mass"] == pytest.approx(0.3)
    assert record["share_by_place"] == {
        "text": pytest.approx([0.625, 0, 0.375, 0]),
        "last": pytest.approx([0.625, 0, 0.375, 0]),
        "visual": pytest.approx([0.125, 0, 0.875, 0]),
    }


@torch.inference_mode()
def test_rows_are_those_of_the_models_own_attention(load: Load, tmp_path: Path) -> None:
    tokenizer, model, processor, _ = load("llava-tiny-12l")
    data = Loaded(tokenizer, model, processor).prepare(
        read_questions(str(questions(tmp_path)), str(PARITY / "images")), "vicuna_v1"
    )
    items = [data[at] for at in range(2)]
    probe = Probe.of(12)
    model.generate(**collate(items), reduction=probe, do_sample=False, max_new_tokens=1)
    assert [rows.layer for rows in probe.seen] == list(range(12))
    ids, pixels, size = items[1]
    inputs = model.prepare_inputs_labels_for_multimodal(
        ids[None], None, None, None, None, images=[pixels], image_sizes=[size]
    )
    start, count = (ids == -200).nonzero().item(), probe.seen[0].lengths[1]
    whole = own_attention(model, inputs[4])
    for layer, rows in enumerate(probe.seen):
        image = whole[layer].mean(dim=0)[:, start : start + count]
        assert torch.allclose(rows.last[1, :count], image[-1], atol=1e-5)
        assert torch.allclose(rows.text[1, :count], image[start + count :].mean(dim=0), atol=1e-5)
        assert torch.allclose(rows.visual[1, :count], image[start : start + count].mean(dim=0), atol=1e-5)


def own_attention(model: torch.nn.Module, embeds: torch.Tensor) -> list[torch.Tensor]:
    """(H, T, T) of every layer, by transformers' own eager attention over the same weights."""
    from transformers import LlamaModel

    config = copy.deepcopy(model.config)  # transformers 5.12 writes the kernels into it
    plain = LlamaModel._from_config(config, attn_implementation="eager").eval()
    plain.load_state_dict(model.get_model().state_dict(), strict=False)
    return [layer[0] for layer in plain(inputs_embeds=embeds, output_attentions=True).attentions]


def test_the_pair_differs_in_its_ranking_only() -> None:
    text, visual = (run.reduction for run in pair_of(Geometry(32, 576), 192))
    assert (text.ranking, visual.ranking) == ("text", "visual")
    assert (text.layer_list, text.image_token_ratio_list) == (visual.layer_list, visual.image_token_ratio_list)
    assert average_tokens(text, Geometry(32, 576)) == pytest.approx(192, abs=2)
    assert text.reads_question and not visual.reads_question


def test_command_writes_table_numbers_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    output = tmp_path / "out/attention"
    found = call("attention", capsys, *small_benchmark(tmp_path), "--output", output, "--retain", 192)
    assert found.code == 0 and "Ranked by image tokens, of the same questions: +" in found.out
    record = json.loads(output.with_suffix(".json").read_text())
    assert [layer["layer"] for layer in record["layers"]] == list(range(12)) and record["questions"] == 4
    assert all(sum(layer["share_by_place"]["text"]) == pytest.approx(1) for layer in record["layers"])
    assert [one["name"] for one in record["pair"]] == ["pyramiddrop ranked by text", "pyramiddrop ranked by visual"]
    assert output.with_suffix(".md").read_text().count("\n| ") >= 14
    assert output.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
