"""The real lmms-eval over a Qwen2.5-VL: the same texts as `llava.hf.reduce` without lmms-eval."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from lmms_fixtures import ask, tasks_fixture  # noqa: F401
from lmms_runs import lmms_eval
from PIL import Image
from tiny_qwen import processor, save
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

import llava.hf
from llava.errors import InputError

ASKED = 6
SYSTEM = "You are a helpful assistant."
METHODS = {"visiondrop": {"retain": 0.3}, "visionzip": {"dominant": 0.2, "contextual": 0.05}}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="session")
def original(checkpoint: Path) -> Any:
    return Qwen2_5_VLForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.bfloat16).eval()


@pytest.fixture(scope="session")
def records(tasks: Path) -> list[dict[str, Any]]:
    """The task's first questions: text, picture."""
    import datasets

    table = datasets.load_dataset("parquet", data_files={"test": str(tasks / "shapes.parquet")}, split="test[:6]")
    return [*table]


def as_jpeg(picture: Image.Image) -> Image.Image:
    """As lmms-eval's simple form hands pictures on."""
    file = io.BytesIO()
    picture.convert("RGB").save(file, format="JPEG", quality=85)
    return Image.open(file)


def given(record: dict[str, Any], jpeg: bool) -> dict[str, torch.Tensor]:
    """A question as the processor gives it, without lmms-eval."""
    picture, own = record["image"], processor()
    content = [{"type": "image"}, {"type": "text", "text": record["text"]}]
    system = [{"role": "system", "content": SYSTEM}] if jpeg else []
    prompt = own.apply_chat_template(
        [*system, {"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    return own(text=[prompt], images=[as_jpeg(picture) if jpeg else picture], return_tensors="pt")


@pytest.mark.parametrize(("form", "method"), [("chat", "visiondrop"), ("simple", "visionzip")])
def test_texts_are_those_of_the_reduced_model(
    checkpoint: Path, original: Any, records: list, tasks: Path, tmp_path: Path, form: str, method: str
) -> None:
    settings = METHODS[method]
    words = [f"pretrained={checkpoint}", f"method={method}", "min_pixels=3136", "max_pixels=50176"]
    words += [f"{name}={value}" for name, value in settings.items()]
    more = ["--limit", ASKED, "--batch_size", 1, *(["--force_simple"] if form == "simple" else [])]
    run = lmms_eval("visiondrop_qwen2_5_vl", ",".join(words), tasks, tmp_path, *more)
    reduced, wanted, plain = llava.hf.reduce(original, method, **settings), [], []
    for record in records:
        asked = given(record, form == "simple")
        for model, texts in ((reduced, wanted), (original, plain)):
            new = model.generate(**asked, do_sample=False, max_new_tokens=8, eos_token_id=2)
            own = processor().batch_decode(new[:, asked["input_ids"].shape[1] :], skip_special_tokens=True)
            texts += [text.strip() for text in own]
    assert [run.answers[number].strip() for number in range(ASKED)] == wanted
    assert wanted != plain and len(set(wanted)) > 1


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Any:
    from lmms_eval.models import get_model

    words = f"pretrained={checkpoint},method=none,min_pixels=3136,max_pixels=50176"
    return get_model("visiondrop_qwen2_5_vl").create_from_arg_string(words, {"batch_size": 1, "device": "cpu"})


def test_a_likelihood_is_transformers_own_loss(model: Any, original: Any, records: list) -> None:
    answer = " ".join(records[1]["text"].split()[:3])
    [(loss, _)] = ask(model, [(records[0]["text"], [records[0]["image"]])], answer, "loglikelihood")
    asked = given(records[0], jpeg=False)
    own = processor()
    system = own.tokenizer(f"system {SYSTEM}", return_tensors="pt").input_ids
    told = own.tokenizer(answer, return_tensors="pt").input_ids
    ids = torch.cat([system, asked["input_ids"], told], dim=1)
    labels = torch.full_like(ids, -100)
    labels[:, -told.shape[1] :] = told
    kinds = (ids == original.config.image_token_id).int()
    seen = {name: asked[name] for name in ("pixel_values", "image_grid_thw")}
    wanted = original(input_ids=ids, labels=labels, mm_token_type_ids=kinds, **seen).loss
    assert loss == pytest.approx(wanted.item(), rel=1e-2)


def test_reduced_likelihoods_differ(model: Any, checkpoint: Path, records: list) -> None:
    from lmms_eval.models import get_model

    words = f"pretrained={checkpoint},retain=0.2,min_pixels=3136,max_pixels=50176"
    reduced = get_model("visiondrop_qwen2_5_vl", force_simple=True).create_from_arg_string(words, {"batch_size": 1})
    asked = [(record["text"], [record["image"]]) for record in records[:2]]
    whole, fewer = (ask(one, asked, "purple", "loglikelihood") for one in (model, reduced))
    assert [loss for loss, _ in whole] != [loss for loss, _ in fewer]


def test_a_picture_is_encoded_once_for_answers_and_likelihoods(
    checkpoint: Path, records: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And methods that read the question read it before the answer that is rated: likelihoods tell answers apart."""
    from lmms_eval.models import get_model

    seen: list[int] = []
    tower = Qwen2_5_VisionTransformerPretrainedModel
    run = tower.forward

    def running(self: Any, hidden_states: Any, grid_thw: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(len(grid_thw))
        return run(self, hidden_states, grid_thw, *args, **kwargs)

    monkeypatch.setattr(tower, "forward", running)
    words = f"pretrained={checkpoint},min_pixels=3136,max_pixels=50176"
    for method in ("visionzip,retain=0.3", "pyramiddrop,retain=0.6"):
        one = get_model("visiondrop_qwen2_5_vl").create_from_arg_string(f"{words},method={method}", {"batch_size": 1})
        picture, seen[:] = [records[0]["image"]], []
        rated = [
            ask(one, [(records[0]["text"], picture)], answer, "loglikelihood") for answer in ("purple", "red cross")
        ]
        assert len(seen) == (1 if "zip" in method else 2) and rated[0] != rated[1]


def test_what_the_class_does_not_have_is_said(checkpoint: Path) -> None:
    from lmms_eval.models import get_model

    with pytest.raises(InputError, match="square view"):
        get_model("visiondrop_qwen2_5_vl")(pretrained=str(checkpoint), method="pool", rows=2, cols=2)


def test_a_preset_names_method_and_settings(checkpoint: Path) -> None:
    """As text, as lmms-eval hands it on; a LLaVA's is refused before weights are read."""
    from lmms_eval.models import get_model

    kind = get_model("visiondrop_qwen2_5_vl")
    words = f"pretrained={checkpoint},preset=visionzip 70%,min_pixels=3136,max_pixels=50176"
    made = kind.create_from_arg_string(words, {"batch_size": 1, "device": "cpu"}).model
    wanted = llava.hf.reduce(made, **llava.hf.PRESETS["visionzip 70%"])
    assert made.reduction == wanted.reduction
    with pytest.raises(InputError, match="a preset is one of visionzip 70%, .* for Qwen2_5_VL: got 'paper-64'"):
        kind.create_from_arg_string("pretrained=nowhere,preset=paper-64", {"batch_size": 1, "device": "cpu"})
