"""The vocabulary, and texts as LLaVA's stages write them: captions alone, or conversations under `vicuna_v1`."""

import io
from pathlib import Path

import numpy as np
import sentencepiece
import torch

from llava.constants import DEFAULT_IMAGE_TOKEN, IGNORE_INDEX
from llava.conversation import get_conv_template
from llava.mm_utils import tokenizer_image_token
from llava.model.tokenizer import LlamaTokenizer
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
        lines += [caption(scene, source), conversation(ask(scene, source, per_kind=2), source)]
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


def conversation(questions: list[Question], source: np.random.RandomState | None = None) -> str:
    """All questions of a picture as one conversation; the first asks for a short answer, the others sometimes do.

    Args:
        source: None: every question asks for it, as in the question files.
    """
    talk = get_conv_template("vicuna_v1")
    for number, question in enumerate(questions):
        asks = source is None or number == 0 or source.rand() < _REPEATED
        image = f"{DEFAULT_IMAGE_TOKEN}\n" if number == 0 else ""
        talk.append_message(talk.roles[0], image + question.text + (SHORT if asks else ""))
        talk.append_message(talk.roles[1], question.answer)
    return talk.get_prompt()


def encode_conversation(text: str, tokenizer: LlamaTokenizer) -> tuple[torch.Tensor, torch.Tensor]:
    """(L,) int64 ids, -200 for the picture, and labels: the answers with their `</s>`, -100 elsewhere."""
    ids = tokenizer_image_token(text, tokenizer, return_tensors="pt")
    marker = torch.tensor(tokenizer(" ASSISTANT:", add_special_tokens=False).input_ids[-2:])
    follows_marker = torch.zeros(len(ids), dtype=torch.bool)
    follows_marker[2:] = (ids[:-2] == marker[0]) & (ids[1:-1] == marker[1])
    ends = ids == tokenizer.eos_token_id
    # Between a marker and the next end: more markers than ends have been seen before this token.
    inside = follows_marker.cumsum(0) > ends.cumsum(0) - ends.long()
    return ids, torch.where(inside, ids, IGNORE_INDEX)


def encode_caption(text: str, tokenizer: LlamaTokenizer) -> tuple[torch.Tensor, torch.Tensor]:
    """LLaVA's first stage: the picture and the caption, nothing else; the caption is learned."""
    ids = tokenizer_image_token(f"{DEFAULT_IMAGE_TOKEN}\n {text}", tokenizer, return_tensors="pt")
    ids = torch.cat([ids, torch.tensor([tokenizer.eos_token_id])])
    start = 1 + int((ids < 0).nonzero()[0])
    return ids, torch.where(torch.arange(len(ids)) > start, ids, IGNORE_INDEX)
