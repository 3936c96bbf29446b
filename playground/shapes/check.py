"""Accuracy on held-out questions while training: is every token of the answer the likeliest one?"""

from collections import Counter

import torch

from llava.model import LlavaLlamaForCausalLM
from llava.model.evidence.clip import ClipEvidence
from llava.model.tokenizer import LlamaTokenizer
from playground.shapes.cls_attention import Gathering
from playground.shapes.data import Sample, collate, pixels_of
from playground.shapes.questions import ask
from playground.shapes.scene import make_scene, random_source
from playground.shapes.text import conversation, encode

Held = list[tuple[str, Sample]]


def held_out(tokenizer: LlamaTokenizer, pictures: int, seed: int = 0, split: str = "validation") -> Held:
    """One question of each kind about each of some pictures, asked as the question files ask."""
    held = []
    for number in range(pictures):
        scene, source = make_scene(seed, split, number), random_source(seed, 300, number)
        pixels = pixels_of(scene)
        for question in ask(scene, source):
            held.append((question.kind, pixels | encode(conversation([question]), tokenizer)))
    return held


@torch.no_grad()
def accuracy(model: LlavaLlamaForCausalLM, held: Held, batch_size: int = 48, blind: bool = False) -> dict[str, float]:
    """Percent right over all, and per kind. `blind`: every picture is plain grey."""
    was_training, device = model.training, model.device
    model.eval()
    right, total = Counter(), Counter()
    for start in range(0, len(held), batch_size):
        part = held[start : start + batch_size]
        batch = _on(device, collate([sample for _, sample in part]))
        labels = batch.pop("labels")
        if blind:
            batch["images"] = torch.zeros_like(batch["images"])
        logits = model(**batch).logits
        for row, (kind, _) in enumerate(part):
            answer = labels[row][labels[row] >= 0]
            said = logits[row, -len(answer) - 1 : -1].argmax(dim=-1)
            right[kind] += int(torch.equal(said, answer))
            total[kind] += 1
    model.train(was_training)
    scores = {kind: 100 * right[kind] / total[kind] for kind in total}
    return {"all": 100 * right.total() / total.total()} | scores


@torch.no_grad()
def gathered_accuracy(model: Gathering, batch: dict[str, torch.Tensor]) -> dict[str, float]:
    """The two losses of `Gathering`, and the percentage of [CLS]'s attention to patches that falls on things."""
    batch = _on(model.llava.device, batch)
    outputs, entering = model(**batch), model.entering(batch["images"])
    attention = ClipEvidence(model.layer, entering, entering, batch["images"]).attention_from_cls().sum(dim=(1, 2))
    things = batch["patches"][..., 0] > 0
    attended = 100 * float((attention * things).sum() / attention.sum())
    return {"gathered": float(outputs["gathered"]), "changed": float(outputs["changed"]), "attended": attended}


@torch.no_grad()
def tower_accuracy(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, float]:
    """What the tower's teacher reads off the patches, in percent right where something is, and the two losses."""
    batch = _on(next(model.parameters()).device, batch)
    outputs = model(**batch)
    scores = {"contrast": float(outputs["contrast"]), "seen": float(outputs["seen"])}
    there = batch["patches"][..., 0] > 0
    for number, (name, verdict) in enumerate(zip(("color", "shape", "size", "centre", "place"), model.split(outputs))):
        right = verdict.argmax(dim=-1) == batch["patches"][..., number]
        scores[name] = 100 * float(right[there].float().mean())
    return scores


def _on(device: torch.device, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value.to(device) for key, value in batch.items()}
