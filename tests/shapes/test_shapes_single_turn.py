"""The last stage of the recipe: questions that share a picture's tokens are answered as if each were asked alone."""

import torch

from llava.constants import IGNORE_INDEX
from llava.model import LlavaLlamaForCausalLM
from llava.model.tokenizer import LlamaTokenizer
from playground.shapes.data import Samples
from playground.shapes.questions import SHORT, ask
from playground.shapes.scene import make_scene, random_source
from playground.shapes.single_turn import AskedAlone, AskedCollator, asked_alone, visible
from playground.shapes.text import conversation, encode, prompt


def test_a_token_sees_what_is_shared_and_its_own_question() -> None:
    assert visible(torch.tensor([[0, 0, 1, 1, 2, -1]])).int().tolist() == [
        [
            [1, 0, 0, 0, 0, 0],
            [1, 1, 0, 0, 0, 0],
            [1, 1, 1, 0, 0, 0],
            [1, 1, 1, 1, 0, 0],
            [1, 1, 0, 0, 1, 0],
            [1, 1, 0, 0, 0, 1],
        ]
    ]


def test_each_question_is_answered_as_in_a_prompt_of_its_own(
    tokenizer: LlamaTokenizer, llava: LlavaLlamaForCausalLM
) -> None:
    model = llava
    samples = Samples(asked_alone, tokenizer, length=3)
    batch = AskedCollator(tokenizer)([samples[number] for number in range(3)])
    assert len(set(batch["asked"].amax(dim=1).tolist())) > 1 or (batch["asked"] == -1).any()
    wanted, losses = [], []
    for number, pixels in enumerate(batch["images"]):
        scene, source = make_scene(0, "train", number), random_source(0, 200, number)
        for question in ask(scene, source, per_kind=2):
            talk = conversation([question])
            assert prompt(talk).count(SHORT) == 1
            ids, labels = encode(talk, tokenizer).values()
            outputs = model(input_ids=ids[None], labels=labels[None], images=pixels[None])
            told = int((labels != IGNORE_INDEX).sum())
            wanted.append(outputs.logits[0, -told - 1 : -1])
            losses.append(outputs.loss * told)

    found = AskedAlone(model)(**batch)

    torch.testing.assert_close(found["logits"], torch.cat(wanted), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["loss"], sum(losses) / len(found["logits"]), rtol=1e-5, atol=1e-6)
