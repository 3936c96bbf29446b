"""How likely answers are: the mean loss over an answer's tokens, and whether each is the model's own choice.

lmms-eval's `llava` returns the loss in the place of a log likelihood, and its tasks take the least; so does this.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch.nn.functional import cross_entropy

from llava.constants import DEFAULT_IMAGE_TOKEN, IGNORE_INDEX
from llava.conversation import get_conv_template
from llava.errors import InputError
from llava.eval.harness.requests import Request, digest_of
from llava.mm_utils import process_prompt_images, tokenizer_image_token
from llava.model.generation.prefix import ImagePrefix, padded, split_prompt
from llava.model.generation.prefix_store import PrefixStore

Score = tuple[float, bool]


@dataclass(frozen=True)
class Rated:
    """A prompt that ends with the answer to be rated.

    Attributes:
        ids: (L,), -200 where a picture goes.
        told: how many of them are the answer's.
    """

    ids: tuple[int, ...]
    told: int
    pictures: list[Image.Image]


@dataclass
class Likelihoods:
    """Rates answers with one model.

    Attributes:
        conv_mode: the conversation template.
        store: prefixes of pictures that were seen, for methods that do not read the question.
    """

    model: Any
    tokenizer: Any
    processor: Any
    conv_mode: str
    store: PrefixStore

    def of(self, requests: Sequence[Request]) -> list[Score]:
        """The score of each request, all in one batch, or in two where some have a picture whose work is shared."""
        rated = [self._rated(request) for request in requests]
        shares = [self._is_shared(one) for one in rated]
        scores: dict[int, Score] = {}
        for shared, rate in ((True, self._after_prefixes), (False, self._whole)):
            numbers = [number for number, own in enumerate(shares) if own == shared]
            if numbers:
                scores |= zip(numbers, rate([rated[number] for number in numbers]))
        return [scores[number] for number in range(len(rated))]

    def _rated(self, request: Request) -> Rated:
        """Context and answer under the template, as lmms-eval's `llava` puts them."""
        answer, pictures = request.answer(), request.visuals()
        context = request.context[0] if isinstance(request.context, list) else request.context
        if pictures and DEFAULT_IMAGE_TOKEN not in context:
            context = " ".join([DEFAULT_IMAGE_TOKEN] * len(pictures)) + "\n" + context
        asked = get_conv_template(self.conv_mode)
        asked.append_message(asked.roles[0], context)
        told = asked.copy()
        asked.append_message(asked.roles[1], None)
        told.append_message(told.roles[1], answer)
        before, whole = (tokenizer_image_token(conv.get_prompt(), self.tokenizer) for conv in (asked, told))
        if len(whole) <= len(before):
            raise InputError(f"an answer to be rated needs a token: got {answer!r} to {context[:80]!r}; give it text")
        return Rated(tuple(whole), len(whole) - len(before), pictures)

    def _is_shared(self, one: Rated) -> bool:
        method = self.model.reduction
        reads = method.reads_question or method.question_at_encoder or method.chooses_again
        return len(one.pictures) == 1 and not reads

    def _after_prefixes(self, rated: list[Rated]) -> list[Score]:
        """Answers about one picture each, whose part of the prompt is computed once."""
        longest = max(one.told for one in rated)
        prefixes = [self._prefix(one) for one in rated]
        ids = [one.ids for one in rated]
        _, logits, lengths = self.model.prefill(prefixes, ids, self.model.reduction, longest + 1)
        for prefix, one, held in zip(prefixes, rated, lengths):
            if held[0] < len(one.ids) + prefix.surplus:
                raise _too_long(one)
        return _scores(logits, rated)

    def _prefix(self, one: Rated) -> ImagePrefix:
        key = digest_of(one.pictures[0]), split_prompt(one.ids)[0]
        found = self.store.get(key)
        if found is None:
            pixels, kinds = process_prompt_images(one.pictures, self.processor, self.model.config)
            sizes = [picture.size for picture in one.pictures]
            found = self.model.encode_image(torch.tensor(one.ids), pixels, sizes, None, kinds)
            self.store.put(key, found)
        return found

    @torch.inference_mode()
    def _whole(self, rated: list[Rated]) -> list[Score]:
        """Any others. Labels say where the answer begins: a method reads the question before it."""
        ids, mask = padded([one.ids for one in rated])
        labels = torch.full_like(ids, IGNORE_INDEX)
        for row, one in enumerate(rated):
            labels[row, -one.told :] = ids[row, -one.told :]
        pairs = [
            process_prompt_images(one.pictures, self.processor, self.model.config) for one in rated if one.pictures
        ]
        pixels = [own for views, _ in pairs for own in views]
        kinds = [kind for _, own in pairs for kind in own]
        sizes = [picture.size for one in rated for picture in one.pictures]
        shown = {"images": pixels, "image_sizes": sizes, "modalities": kinds} if pixels else {}
        device = self.model.device
        given = {"input_ids": ids.to(device), "attention_mask": mask.to(device), "labels": labels.to(device)}
        return _scores(self.model(**given, **shown).logits, rated)


def _scores(logits: torch.Tensor, rated: list[Rated]) -> list[Score]:
    """Scores from the last logits (B, T, V) of prompts that are padded on the left."""
    return [score_of(own[-one.told - 1 : -1], torch.tensor(one.ids[-one.told :])) for own, one in zip(logits, rated)]


def score_of(logits: torch.Tensor, answer: torch.Tensor) -> Score:
    """Mean loss over an answer, and whether each of its tokens is the likeliest.

    Args:
        logits: (n, V), of the token before each of the answer's.
        answer: (n,) int64.
    """
    answer = answer.to(logits.device)
    loss = cross_entropy(logits.float(), answer)
    return loss.item(), bool((logits.argmax(dim=-1) == answer).all())


def _too_long(one: Rated) -> InputError:
    return InputError(
        f"prompt and answer must fit into tokenizer_model_max_length: {len(one.ids)} tokens and their picture do not; "
        f"keep fewer image tokens (retain)"
    )
