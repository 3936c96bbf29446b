"""The recipe on a miniature: it learns what it says, stops and goes on exactly, and writes what the loader reads."""

from pathlib import Path

import pytest
import torch
from conftest import Loaded
from PIL import Image
from transformers import TrainerCallback

from llava.mm_utils import process_images
from llava.model import LlavaLlamaForCausalLM
from llava.model.builder import load_pretrained_model
from llava.model.tokenizer import LlamaTokenizer
from playground.shapes.check import accuracy, held_out
from playground.shapes.data import CAPTION_END, Samples, collate, described, matched, patch_targets, questioned
from playground.shapes.export import export
from playground.shapes.models import WORDS, Aligned, build_llava, fit_projector
from playground.shapes.pictures import draw
from playground.shapes.questions import SHORT, ask
from playground.shapes.scene import COLORS, PLACES, make_scene, random_source
from playground.shapes.stages import Stage, run_llava_stage, run_stage
from playground.shapes.text import conversation, encode, prompt
from playground.shapes.tower import TowerWithTeacher


def miniature() -> LlavaLlamaForCausalLM:
    """The smallest LLaVA of the recipe's kind, always with the same weights."""
    torch.manual_seed(0)
    tower = TowerWithTeacher(width=32, layers=2)
    return build_llava(tower.clip.config.vision_config, width=32, layers=2)


def test_only_answers_and_their_ends_are_learned(tokenizer: LlamaTokenizer) -> None:
    for number in range(20):
        scene, source = make_scene(5, "train", number), random_source(5, number)
        questions = ask(scene, source, per_kind=3)
        ids, labels = encode(conversation(questions, source), tokenizer).values()
        learned = tokenizer.decode(labels[labels >= 0]).split("</s>")
        assert [answer.strip() for answer in learned] == [question.answer for question in questions] + [""]
        assert int((ids == -200).sum()) == 1 and 0 not in ids.tolist()


def test_a_single_question_is_written_as_the_runner_writes_it(tokenizer: LlamaTokenizer) -> None:
    [question, *_] = ask(make_scene(5, "train", 1), random_source(5, 1))
    asked = prompt(conversation([question]))

    assert asked.endswith(f"USER: <image>\n{question.text}{SHORT} ASSISTANT: {question.answer}</s>")


def test_patches_know_what_covers_them() -> None:
    scene = make_scene(5, "train", 2)
    targets = patch_targets(scene)

    assert int(targets[:, 3].sum()) == len(scene.things)
    for thing in scene.things:
        patch = int(thing.y) // 8 * 16 + int(thing.x) // 8
        assert targets[patch, 4] == thing.place
        if thing.shape != "ring":  # a ring has nothing in its middle
            assert targets[patch, 0] == 1 + COLORS.index(thing.color)


def test_training_sees_pictures_as_the_loader_does(tokenizer: LlamaTokenizer, vocabulary: Path, tmp_path: Path) -> None:
    export(miniature(), vocabulary / "tokenizer.model", tmp_path)
    loaded = Loaded(*load_pretrained_model(str(tmp_path), None, "llava-shapes", device="cpu"))
    sample = Samples(questioned, tokenizer, length=1)[0]
    picture = Image.fromarray(draw(make_scene(0, "train", 0)))

    pixels = process_images([picture], loaded.processor, loaded.model.config)[0]

    assert torch.allclose(pixels, sample["image"], atol=1e-5)


def test_the_exported_model_is_the_trained_one(tokenizer: LlamaTokenizer, vocabulary: Path, tmp_path: Path) -> None:
    model = miniature().eval()
    for weight in model.parameters():
        weight.data = weight.data.half().float()
    export(model, vocabulary / "tokenizer.model", tmp_path)
    loaded = Loaded(*load_pretrained_model(str(tmp_path), None, "llava-shapes", device="cpu"))
    samples = Samples(questioned, tokenizer, length=2)
    batch = collate([samples[0], samples[1]])

    with torch.no_grad():
        assert torch.equal(loaded.model(**batch).logits, model(**batch).logits)
    assert loaded.tokenizer("Is there a red star?").input_ids == tokenizer("Is there a red star?").input_ids


def test_patches_are_called_by_their_words() -> None:
    scene = make_scene(5, "train", 2)
    patches = patch_targets(scene)[None]
    numbers = Aligned(miniature(), list(range(len(WORDS)))).numbers(patches)[0]

    for thing in scene.things:
        patch = int(thing.y) // 8 * 16 + int(thing.x) // 8
        said = {WORDS[number] for number in numbers[patch].tolist() if number < len(WORDS)}
        told = {"1", thing.color, thing.shape, thing.size, *PLACES[thing.place].split()}
        assert thing.shape == "ring" or said == told  # a ring has nothing in its middle
    bare = numbers[patches[0, :, 0] == 0]
    assert bare[:, 0].unique().tolist() == [len(WORDS)] and bare[:, 1:].unique().tolist() == [len(WORDS) + 1]


def test_aligning_changes_the_projector_alone(tokenizer: LlamaTokenizer, tmp_path: Path) -> None:
    model = miniature()
    words = [tokenizer(word, add_special_tokens=False).input_ids for word in WORDS]
    assert {len(ids) for ids in words} == {1}
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    samples = Samples(matched, tokenizer, length=4 * 3)

    stage = Stage("mini", steps=3, batch=4, rate=1e-3)
    run_stage(stage, Aligned(model, [ids[0] for ids in words]), samples, tmp_path / "mini", [])

    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed == {name for name in before if "mm_projector" in name}


def test_the_projector_begins_at_the_size_of_its_features() -> None:
    model = miniature()
    images = 3 * torch.randn(2, 3, 128, 128)
    features = model.get_vision_tower().encode(images).features
    before = model.get_model().mm_projector[0](features).detach()

    fit_projector(model, images)

    fitted = model.get_model().mm_projector[0](features)  # the bias is zero
    assert torch.allclose(fitted * features.square().mean().sqrt(), before, atol=1e-5)


def test_the_text_tower_reads_a_caption_at_its_end(tokenizer: LlamaTokenizer) -> None:
    torch.manual_seed(0)
    text = TowerWithTeacher(width=32, layers=2).clip.text_model
    samples = Samples(matched, tokenizer, length=3)
    ids = collate([samples[number] for number in range(3)])["input_ids"]
    ends = (ids == CAPTION_END).int().argmax(dim=1)

    read = text(ids)

    assert torch.equal(read.pooler_output, read.last_hidden_state[torch.arange(3), ends])


def test_patches_begin_by_looking_at_the_like_in_the_first_half_of_the_tower() -> None:
    layers = TowerWithTeacher(width=32, layers=4).clip.vision_model.encoder.layers

    equal = [torch.equal(layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight) for layer in layers]

    assert equal == [True, True, False, False]


class StopAt(TrainerCallback):
    """Ends a stage early, after a checkpoint."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: object, state: object, control: object, **_: object) -> object:
        if state.global_step >= self.step:
            control.should_save = control.should_training_stop = True
        return control


@pytest.mark.parametrize("make", [described, questioned])
def test_stopped_and_started_again_gives_equal_weights(make: object, tokenizer: LlamaTokenizer, tmp_path: Path) -> None:
    stage = Stage("mini", steps=4, batch=2, rate=1e-3, easy=2, slower=0.3)
    samples = Samples(make, tokenizer, stage.steps * stage.batch, stage=1, easy=4)
    whole, torn, rest, ended = (miniature() for _ in range(4))
    start = {name: weight.clone() for name, weight in whole.state_dict().items()}

    run_llava_stage(stage, whole, samples, tmp_path / "whole", [], tokenizer)
    run_llava_stage(stage, torn, samples, tmp_path / "torn", [StopAt(2)], tokenizer)
    run_llava_stage(stage, rest, samples, tmp_path / "torn", [], tokenizer)
    run_llava_stage(stage, ended, samples, tmp_path / "torn", [], tokenizer)

    assert not torch.equal(start["lm_head.weight"], whole.state_dict()["lm_head.weight"])
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, rest.state_dict()[name]), name
        assert torch.equal(weight, ended.state_dict()[name]), name
    assert any(not torch.equal(weight, torn.state_dict()[name]) for name, weight in whole.state_dict().items())


def test_a_few_steps_lower_both_losses_of_the_tower(tokenizer: LlamaTokenizer, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = TowerWithTeacher(width=32, layers=2)
    samples = Samples(matched, tokenizer, length=16 * 12)
    batch = collate([samples[number] for number in range(16)])
    before = model(**batch)

    run_stage(Stage("mini", steps=12, batch=16, rate=3e-3, warmup=2), model, samples, tmp_path / "tower", [])

    after = model.eval()(**batch)
    assert after["seen"] < 0.9 * before["seen"]
    assert after["contrast"] < before["contrast"]


def test_accuracy_counts_whole_answers(tokenizer: LlamaTokenizer) -> None:
    model = miniature()
    held = held_out(tokenizer, pictures=3)
    with torch.no_grad():
        model.lm_head.weight.zero_()  # every token is as likely: the first, <unk>, is said
    assert accuracy(model, held, batch_size=5)["all"] == 0
    assert {kind for kind, _ in held} == {"colour", "shape", "place", "count", "existence", "comparison"}
