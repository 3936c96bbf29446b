"""The vocabulary, and what LLaVA's stages are told: captions alone (`plain`), or conversations under `vicuna_v1`."""

import io
from pathlib import Path

import numpy as np
import sentencepiece
import torch

from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.conversation import get_conv_template
from llava.model.tokenizer import LlamaTokenizer
from llava.train.data.encoding import Encoder
from llava.train.data.placing import Message
from llava.train.data.template import training_template
from playground.shapes.captions import caption
from playground.shapes.questions import SHORT, Question, ask
from playground.shapes.scene import make_scene, random_source

VOCABULARY = 640
# How often a question after the first repeats the request for a short answer; LLaVA's own data says it once.
_REPEATED = 0.25


def train_tokenizer(folder: Path, seed: int = 0, scenes: int = 3000) -> None:
    """Write `tokenizer.model` (SentencePiece, byte pairs, LLaMA's special ids) made from training texts."""
    lines = []
    for number in range(scenes):
        scene, source = make_scene(seed, "train", number), random_source(seed, 100, number)
        lines += [caption(scene, source), prompt(conversation(ask(scene, source, per_kind=2), source))]
    corpus = (line.replace(DEFAULT_IMAGE_TOKEN, "").replace("</s>", "\n") for line in lines)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([piece for line in corpus for piece in line.split("\n") if piece]),
        model_writer=model,
        model_type="bpe",
        vocab_size=VOCABULARY,
        character_coverage=1.0,
        byte_fallback=True,
        # As LLaMA's own: the text as it is, every space and line feed of it. The trainer's defaults join white space.
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        num_threads=1,
        minloglevel=2,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(model.getvalue())


def read_tokenizer(folder: Path) -> LlamaTokenizer:
    """The tokenizer of `tokenizer.model`, set up as LLaVA's are."""
    return LlamaTokenizer.from_pretrained(
        str(folder), legacy=True, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<unk>",
        add_bos_token=True, add_eos_token=False, padding_side="right", model_max_length=2048,
    )  # fmt: skip


def conversation(questions: list[Question], source: np.random.RandomState | None = None) -> list[Message]:
    """All questions of a picture as one conversation; the first asks for a short answer, the others sometimes do.

    Args:
        source: None: every question asks for it, as in the question files.
    """
    messages = []
    for number, question in enumerate(questions):
        asks = source is None or number == 0 or source.rand() < _REPEATED
        image = f"{DEFAULT_IMAGE_TOKEN}\n" if number == 0 else ""
        messages.append({"from": "human", "value": image + question.text + (SHORT if asks else "")})
        messages.append({"from": "gpt", "value": question.answer})
    return messages


def captioned(text: str) -> list[Message]:
    """A picture and its caption, as LLaVA's first stage has them."""
    return [{"from": "human", "value": DEFAULT_IMAGE_TOKEN}, {"from": "gpt", "value": text}]


def prompt(messages: list[Message]) -> str:
    """A conversation as one text under `vicuna_v1`."""
    talk = get_conv_template("vicuna_v1")
    for message in messages:
        talk.append_message(talk.roles[message["from"] == "gpt"], message["value"])
    return talk.get_prompt()


def encode(messages: list[Message], tokenizer: LlamaTokenizer, version: str = "vicuna_v1") -> dict[str, torch.Tensor]:
    """`input_ids` (L,) int64, -200 for the picture, and `labels`: the answers with their ends, -100 elsewhere.

    By `llava.train`, as its own dataset does it.
    """
    encoded = Encoder(training_template(version), tokenizer)(messages, has_image=True)
    return {"input_ids": torch.tensor(encoded.input_ids), "labels": torch.tensor(encoded.labels)}
