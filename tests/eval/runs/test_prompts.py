"""What the model is asked and what is saved of it, benchmark by benchmark."""

import argparse
from collections.abc import Callable
from pathlib import Path

import published
import pytest
from commands import TINY, call, records

from llava.errors import InputError
from llava.eval import model_vqa_loader, model_vqa_mmbench, model_vqa_science
from llava.eval.runs.options import conversation_from
from llava.eval.runs.questions import Question, render

LETTER = "Answer with the option's letter from the given choices directly."
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the user's questions. USER: {} ASSISTANT:"
)


def asked(question: Question) -> str:
    """The whole prompt of a question under vicuna_v1."""
    return render(question.message, question.image is not None, "vicuna_v1", False)


def from_lines(name: str, images: str) -> Callable[[Path], list[Question]]:
    """Reads a question file of the loader."""
    return lambda data: model_vqa_loader.read_questions(str(data / name), str(data / images))


@pytest.mark.parametrize(
    ("write", "read", "text"),
    [
        (
            published.gqa,
            from_lines("gqa/llava_gqa_testdev_balanced.jsonl", "gqa/data/images"),
            "Is the query overcast?\nAnswer the question using a single word or phrase.",
        ),
        (
            published.vizwiz,
            from_lines("vizwiz/llava_test.jsonl", "vizwiz/test"),
            "What is this?\nWhen the provided information is insufficient, respond with 'Unanswerable'.\n"
            "Answer the question using a single word or phrase.",
        ),
        (
            published.textvqa,
            from_lines("textvqa/llava_textvqa_val_v051_ocr.jsonl", "textvqa/train_images"),
            "what is the brand of camera 0?\nReference OCR token: DAKOTA, DIGITAL\n"
            "Answer the question using a single word or phrase.",
        ),
        (published.mmvet, from_lines("mm-vet/llava-mm-vet.jsonl", "mm-vet/images"), "What is x?"),
    ],
)
def test_a_line_is_asked_and_saved_as_it_stands(tmp_path: Path, write: Callable, read: Callable, text: str) -> None:
    write(tmp_path)
    first = read(tmp_path)[0]
    assert asked(first) == VICUNA.format(f"<image>\n{text}") and first.head["prompt"] == text


@pytest.mark.parametrize("single", [False, True])
def test_scienceqa_with_and_without_picture(tmp_path: Path, single: bool) -> None:
    published.sqa(tmp_path)
    folder = tmp_path / "scienceqa"
    file, images = str(folder / "llava_test_CQM-A.json"), str(folder / "images/test")
    without, shown = model_vqa_science.read_questions(file, images, single)[2:4]
    question = "Which state is farthest north?\nA. Texas\nB. Maine"
    ending = f"\n{LETTER}" if single else ""
    assert without.image is None and without.head == {"question_id": "10", "prompt": question + ending}
    assert asked(without) == VICUNA.format(question + ending)
    text = f"Context: Look at the map.\n{question}\nC. Ohio{ending}"
    assert shown.head == {"question_id": "13", "prompt": f"<image>\n{text}"}
    assert asked(shown) == VICUNA.format(f"<image>\n{text}")


def test_mmbench_saves_the_question_without_instruction(tmp_path: Path) -> None:
    published.mmbench(tmp_path)
    row, image = model_vqa_mmbench.read_rows(str(tmp_path / "mmbench/mmbench_dev_20230712.tsv"))[4]
    [question] = model_vqa_mmbench.rounds_of(row, image, False, LETTER)
    text = "Which is heavier?\nA. Red\nB. Blue\nC. Green"
    assert question.head == {"question_id": 252, "round_id": 0, "prompt": text}
    assert asked(question) == VICUNA.format(f"<image>\n{text}\n{LETTER}") and image().mode == "RGB"


def test_a_saved_prompt_keeps_the_bare_marker_where_the_model_has_start_and_end_tokens() -> None:
    prompt = render("Q", True, "vicuna_v1", True)
    assert prompt == VICUNA.format("<im_start><image><im_end>\nQ")


@pytest.mark.parametrize(
    ("path", "mode", "tagged"),
    [
        ("models/llava-7b-plain", "v1", "v1_mmtag"),
        ("models/llava-plain-Finetune", "v1", "v1"),
        ("models/llava-plain", "v1_mmtag", "v1_mmtag"),
        ("models/llava-v1.5-7b", "v1", "v1"),
    ],
)
def test_plain_models_get_the_tagged_template(path: str, mode: str, tagged: str) -> None:
    args = argparse.Namespace(model_path=path, conv_mode=mode)
    assert conversation_from(args, tag_plain_models=True) == tagged
    assert conversation_from(args) == mode


def test_a_tagged_template_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="must name a conversation template: got 'vicuna_v1_mmtag'"):
        conversation_from(argparse.Namespace(model_path="llava-plain", conv_mode="vicuna_v1"), tag_plain_models=True)


def test_questions_without_picture_are_answered_among_others(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    published.sqa(tmp_path)
    flags = ["--model-path", TINY, "--question-file", tmp_path / "scienceqa/llava_test_CQM-A.json", "--temperature", 0]
    flags += ["--image-folder", tmp_path / "scienceqa/images/test", "--max_new_tokens", 3, "--retain", 32]
    texts = []
    for size in (1, 5):
        path = tmp_path / f"{size}.jsonl"
        assert call("model_vqa_science", capsys, *flags, "--answers-file", path, "--batch-size", size).code == 0
        texts.append([record["text"] for record in records(path)])
        assert [record["question_id"] for record in records(path)] == ["4", "7", "10", "13", "16"]
    assert texts[0] == texts[1]
