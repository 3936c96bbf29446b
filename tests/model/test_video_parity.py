"""What LLaVA-NeXT's own code computes of videos: frames as views, pooled, with newlines in four places."""

import pytest
import torch
from conftest import PARITY, Load, Loaded
from test_family_parity import agrees, recorded

from llava.mm_utils import open_image, tokenizer_image_token

FRAMES = [f"f{number}.png" for number in range(4)]
NEWLINES = {"one-token": "one_token", "no-token": "no_token", "frame": "frame", "grid": "grid"}


def frames_of(loaded: Loaded) -> torch.Tensor:
    """(4, 3, h, w), the frames of the pack's video, squeezed as its processor does."""
    pictures = [open_image(PARITY / "families" / "images" / name) for name in FRAMES]
    return loaded.processor.preprocess(pictures, return_tensors="pt")["pixel_values"]


@pytest.mark.parametrize("case", NEWLINES)
def test_frames_become_one_image(case: str, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load("families/video-llama")
    monkeypatch.setattr(loaded.model.config, "mm_newline_position", NEWLINES[case], raising=False)
    wanted, (prompt,) = recorded(f"video-{case}")
    ids = tokenizer_image_token(prompt, loaded.tokenizer, return_tensors="pt")
    assert torch.equal(ids, wanted["input_ids"])
    frames = frames_of(loaded)
    assert torch.equal(frames[..., 5::16, 5::16], wanted["pixel_sample.0"])
    assert loaded.model.geometry_for(4).most_tokens == len(wanted["inputs_embeds"]) - len(ids) + 1
    agrees(loaded, wanted, ids[None], images=[frames], modalities=["video"])


def test_decoder_inputs_for_programs_that_run_the_decoder_themselves(load: Load) -> None:
    """LLaVA-NeXT's call has the modalities where LLaVA's has the sizes."""
    loaded = load("families/video-llama")
    wanted, _ = recorded("video-one-token")
    ids, frames = wanted["input_ids"][None], frames_of(loaded)
    prepare = loaded.model.prepare_inputs_labels_for_multimodal
    with torch.inference_mode():
        next_call = prepare(ids, None, None, None, None, [frames], ["video"], [(336, 336)])
        by_name = prepare(ids, None, None, None, None, [frames], image_sizes=None, modalities=["video"])
        (features,), lengths = loaded.model.encode_images([frames], modalities="video")[0][None], [577]
    for got in (next_call[4], by_name[4]):
        torch.testing.assert_close(got[0], wanted["inputs_embeds"], atol=1e-4, rtol=0)
    start = ids[0].tolist().index(-200)
    assert len(features) == lengths[0]
    torch.testing.assert_close(features, wanted["inputs_embeds"][start : start + 577], atol=1e-4, rtol=0)


def test_a_loss_over_an_answer_about_a_video(load: Load) -> None:
    loaded = load("families/video-llama")
    wanted, _ = recorded("video-one-token")
    frames, answer = frames_of(loaded), wanted["generated_ids"][None]
    ids = torch.cat([wanted["input_ids"][None], answer], dim=1)
    labels = ids.masked_fill(torch.arange(ids.shape[1]) < ids.shape[1] - answer.shape[1], -100)
    with torch.inference_mode():
        output = loaded.model(ids, images=[frames], modalities=["video"], labels=labels)
    scores = wanted["logits"].log_softmax(-1).gather(1, answer[0, :, None])
    torch.testing.assert_close(output.loss, -scores.mean(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("method", [{"method": "none"}, {"method": "visionzip", "retain": 60}])
def test_a_conversation_goes_on_with_another_video(load: Load, method: dict) -> None:
    loaded = load("families/video-llama")
    frames, text = frames_of(loaded), {"add_special_tokens": False, "return_tensors": "pt"}
    ids = recorded("video-one-token")[0]["input_ids"][None]
    settings = {"do_sample": False, "eos_token_id": None, "max_new_tokens": 3, "reduction": method}
    first = loaded.model.generate(ids, images=[frames], modalities=["video"], return_dict_in_generate=True, **settings)
    more = [loaded.tokenizer(piece, **text).input_ids for piece in (" USER: and", " now? ASSISTANT:")]
    whole = torch.cat([ids, first.sequences, more[0], torch.tensor([[-200]]), more[1]], dim=1)
    shown = {"images": [frames, frames[:2]], "modalities": ["video", "video"]}
    turn = loaded.model.generate(whole, **shown, past_key_values=first.past_key_values, **settings)
    assert torch.equal(turn, loaded.model.generate(whole, **shown, **settings))
