"""Programs as people write them for LLaVA, VisionZip and PyramidDrop, on a small checkpoint and a CPU.

Each test is a program of one kind, with the calls that such programs make, in their spelling. What they name is told in
LLaVA's README, its command line chat, its training script, and the READMEs of the two methods.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import Load
from llava_program import CHECKPOINT, PICTURE, QUESTION, expected, input_of
from PIL import Image
from transformers import TextStreamer

from llava import reduction
from llava.constants import DEFAULT_IMAGE_TOKEN, IMAGE_TOKEN_INDEX
from llava.conversation import SeparatorStyle, conv_templates
from llava.eval.run_llava import eval_model
from llava.mm_utils import KeywordsStoppingCriteria, get_model_name_from_path, process_images, tokenizer_image_token
from llava.model.builder import load_pretrained_model
from llava.utils import disable_torch_init


def test_quick_start_in_a_notebook(load: Load, capsys: pytest.CaptureFixture) -> None:
    """README: a checkpoint by its path, and eval_model with a class made on the spot."""
    args = type(
        "Args",
        (),
        {
            "model_path": CHECKPOINT,
            "model_base": None,
            "model_name": get_model_name_from_path(CHECKPOINT),
            "query": QUESTION,
            "conv_mode": "vicuna_v1",
            "image_file": PICTURE,
            "sep": ",",
            "temperature": 0,
            "top_p": None,
            "num_beams": 1,
            "max_new_tokens": 4,
        },
    )()
    eval_model(args)
    loaded = load("llava-tiny-12l")
    said = loaded.tokenizer.decode(expected(loaded), skip_special_tokens=True).strip()
    assert capsys.readouterr().out.strip() == said


def test_the_loader_with_its_defaults_gives_float32_on_a_cpu() -> None:
    """README: three arguments, on a machine without a GPU."""
    disable_torch_init()
    _, model, image_processor, context_len = load_pretrained_model(
        model_path=CHECKPOINT, model_base=None, model_name=get_model_name_from_path(CHECKPOINT)
    )
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert context_len == 2048 and model.get_vision_tower().image_processor is image_processor


def test_chat_in_a_terminal(load: Load, capsys: pytest.CaptureFixture) -> None:
    """cli.py: half precision pixels, a streamer, a stopping rule, two turns about one picture."""
    tokenizer, model, processor, _ = loaded = load("llava-tiny-12l")
    conv, picture = conv_templates["vicuna_v1"].copy(), Image.open(PICTURE).convert("RGB")
    pixels = process_images([picture], processor, model.config).to(model.device, dtype=torch.float16)
    typed = [DEFAULT_IMAGE_TOKEN + "\n" + QUESTION, "And its size?"]
    printed = []
    for turn in typed:
        conv.append_message(conv.roles[0], turn)
        conv.append_message(conv.roles[1], None)
        ids = tokenizer_image_token(conv.get_prompt(), tokenizer, IMAGE_TOKEN_INDEX, return_tensors="pt")[None]
        keyword = conv.sep2 if conv.sep_style == SeparatorStyle.TWO else conv.sep
        settings = {"do_sample": False, "temperature": 0, "max_new_tokens": 4, "use_cache": True}
        settings["streamer"] = TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
        settings["stopping_criteria"] = [KeywordsStoppingCriteria([keyword], tokenizer, ids)]
        with torch.inference_mode():
            new = model.generate(ids.to(model.device), images=pixels, image_sizes=[picture.size], **settings)
        conv.messages[-1][-1] = tokenizer.decode(new[0]).strip()
        printed.append(capsys.readouterr().out.strip())
    assert printed[0] == tokenizer.decode(expected(loaded), skip_special_tokens=True).strip()
    assert len(printed) == 2 and all(conv.messages[at][1] for at in (1, 3))


@pytest.mark.parametrize("named", [False, True])
def test_generate_in_llavas_words(load: Load, named: bool) -> None:
    """Positions as LLaVA has them, and `inputs` by its name."""
    loaded = load("llava-tiny-12l")
    ids, pixels, sizes = input_of(loaded)
    arguments: dict[str, Any] = {"do_sample": False, "max_new_tokens": 4}
    if named:
        new = loaded.model.generate(inputs=ids, images=pixels, image_sizes=sizes, **arguments)
    else:
        new = loaded.model.generate(ids, pixels, sizes, **arguments)
    assert torch.equal(new[0], expected(loaded))


def test_features_and_fused_prompts(load: Load) -> None:
    """What people take apart: the tower, the projector, the fused prompt, and a generation from embeddings."""
    loaded = load("llava-tiny-12l")
    model, tower = loaded.model, loaded.model.get_model().get_vision_tower()
    ids, pixels, sizes = input_of(loaded)
    assert tower.is_loaded and tower.select_layer == -2 and tower.select_feature == "patch"
    assert isinstance(tower.vision_tower_name, str) and tower.image_processor is loaded.processor
    assert tower.dummy_feature.shape == (1, tower.hidden_size)
    with torch.inference_mode():
        features = tower(pixels)
        outputs = tower.vision_tower(pixels, output_hidden_states=True)
        assert torch.equal(tower.feature_select(outputs), features)
        assert torch.equal(model.encode_images(pixels), model.get_model().mm_projector(features))
        prepared = model.prepare_inputs_labels_for_multimodal(ids, None, None, None, None, pixels, image_sizes=sizes)
    assert len(prepared) == 6 and prepared[0] is None
    assert prepared[4].shape[:2] == (1, ids.shape[1] - 1 + tower.num_patches)


def test_a_training_script_makes_its_model() -> None:
    """train.py: a tower and a projector by its arguments, then two new tokens with the mean of the others' rows."""
    arguments = {"device": "cpu", "torch_dtype": torch.float32}
    tokenizer, model, _, _ = load_pretrained_model(CHECKPOINT, None, "llava-tiny-12l", **arguments)
    args = SimpleNamespace(
        vision_tower=str(Path(CHECKPOINT, "vision_tower")),
        mm_vision_select_layer=-2,
        mm_vision_select_feature="patch",
        pretrain_mm_mlp_adapter=None,
        mm_patch_merge_type="flat",
        mm_projector_type="mlp2x_gelu",
        mm_use_im_patch_token=False,
        mm_use_im_start_end=True,
        tune_mm_mlp_adapter=False,
    )
    model.get_model().initialize_vision_modules(model_args=args, fsdp=None)
    assert model.config.use_mm_proj is True and model.config.mm_projector_type == "mlp2x_gelu"
    assert model.config.mm_hidden_size == model.get_vision_tower().hidden_size
    before = model.get_input_embeddings().weight.detach().clone()
    model.initialize_vision_tokenizer(args, tokenizer=tokenizer)
    after = model.get_input_embeddings().weight
    assert len(after) == len(tokenizer) == len(before) + 2
    assert torch.equal(after[:-2], before) and torch.allclose(after[-2:], before.mean(0).expand(2, -1))


@pytest.mark.parametrize("checkpoint", ["llava-tiny-12l", "llava-tiny-next"])
def test_visionzip_in_one_line(load: Load, checkpoint: str) -> None:
    from llava.visionzip import visionzip

    loaded = load(checkpoint)
    plain = expected(loaded)
    model = visionzip(loaded.model, dominant=54, contextual=10)
    assert model is loaded.model and model.reduction == reduction.create("visionzip", dominant=54, contextual=10)
    by_method = expected(loaded, reduction=reduction.create("visionzip", dominant=54, contextual=10))
    assert torch.equal(expected(loaded), by_method)
    assert visionzip(model).reduction == reduction.create("visionzip", dominant=191, contextual=30)
    model.reduction = None
    assert torch.equal(expected(loaded), plain)


def test_pyramiddrop_in_a_notebook(load: Load, capsys: pytest.CaptureFixture) -> None:
    """Its two lists as its command line takes them, beside LLaVA's arguments."""
    settings = {"layer_list": "[3,6,9]", "image_token_ratio_list": "[0.5,0.25,0.125]", "pdrop_infer": True}
    given = {"model_path": CHECKPOINT, "query": QUESTION, "image_file": PICTURE, "conv_mode": "vicuna_v1"}
    answer = eval_model(SimpleNamespace(**given, **settings, temperature=0, max_new_tokens=4))
    loaded = load("llava-tiny-12l")
    new = expected(loaded, reduction=reduction.create("pyramiddrop", layer_list=[3, 6, 9]))
    assert answer == loaded.tokenizer.decode(new, skip_special_tokens=True).strip()
