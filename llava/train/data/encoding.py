"""A conversation as ids and targets: what `input_ids` and `labels` of training are."""

import logging
import os
from dataclasses import dataclass
from typing import Any

from llava.constants import DEFAULT_IMAGE_TOKEN, IGNORE_INDEX
from llava.conversation import Conversation
from llava.errors import InputError
from llava.mm_utils import tokenizer_image_token
from llava.train.data import official_masking
from llava.train.data.placing import Message, place_images
from llava.train.data.rendering import Rendered, not_asked, render
from llava.train.data.template import NOT_ASKED, Rule, rule_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoded:
    """Ids of a sample, -200 where an image goes, and its targets: the id where it is supervised, else -100."""

    input_ids: list[int]
    labels: list[int]

    @property
    def supervised(self) -> int:
        """How many tokens are trained on."""
        return sum(label != IGNORE_INDEX for label in self.labels)


@dataclass(frozen=True)
class Encoder:
    """What makes ids and targets of conversations.

    Attributes:
        conv: the template.
        tokenizer: the model's; with `model_max_length`, and the pad token that the run uses.
        start_end: `mm_use_im_start_end`.
        official: LLaVA's own masking, which loses samples; else targets are exactly the answers and their end marks.
    """

    conv: Conversation
    tokenizer: Any
    start_end: bool = False
    official: bool = False

    def __post_init__(self) -> None:
        if self.official and rule_of(self.conv) not in ("plain", "v0", *official_masking.RULES):
            raise InputError(
                f"--official_masking needs a template that LLaVA trains with: version {self.conv.version!r} has no "
                f"rule there; leave the flag out"
            )

    def __call__(self, messages: list[Message], has_image: bool) -> Encoded:
        """Ids and targets of one conversation.

        Args:
            has_image: <image> in the messages stands for pictures; else it is a text like others.

        Text alone is cut to `model_max_length` ids; with images the collator cuts, as in LLaVA.

        Raises:
            InputError: for messages that the template cannot hold.
        """
        if has_image:
            messages = place_images(messages, self.conv, self.start_end, several=not self.official)
        rule = rule_of(self.conv)
        check_messages(messages, rule)
        rendered = render(messages, self.conv)
        # Pre-training's prompt is cut nowhere and always has an image, as in LLaVA.
        has_image = has_image or rule == "plain"
        longest = None if has_image else self.tokenizer.model_max_length
        ids = self._ids(rendered.text, has_image)[:longest]
        if not self.official:
            return Encoded(ids, self._exact(ids, rendered, has_image))
        return Encoded(ids, self._official(ids, rendered, rule, has_image))

    def _ids(self, text: str, has_image: bool) -> list[int]:
        return tokenizer_image_token(text, self.tokenizer) if has_image else list(self.tokenizer(text).input_ids)

    def _exact(self, ids: list[int], rendered: Rendered, has_image: bool) -> list[int]:
        """The ids that begin inside an answer. A prefix of the text has the ids of the whole up to where a word ends.

        The last id of an answer may reach into what follows it; it holds the end mark's last letter, so it counts.
        """
        labels = [IGNORE_INDEX] * len(ids)
        for start, end in rendered.answers:
            first = _shared(ids, self._ids(rendered.text[:start], has_image))
            ended = self._ids(rendered.text[:end], has_image)
            last = _shared(ids, ended)
            stop = last if last == len(ended) else last + 1
            labels[first:stop] = ids[first:stop]
        return [IGNORE_INDEX if label < 0 else label for label in labels]

    def _official(self, ids: list[int], rendered: Rendered, rule: str, has_image: bool) -> list[int]:
        if rule == "plain":
            masked = len(self._ids(DEFAULT_IMAGE_TOKEN, True))
            return [IGNORE_INDEX] * masked + ids[masked:]
        if rule == "v0":
            return official_masking.v0(ids, rendered, lambda text: self._long(text, has_image))
        masking = official_masking.RULES[rule]
        legacy = bool(getattr(self.tokenizer, "legacy", rule != "mpt"))
        labels, counted = masking(ids, rendered, self.conv, lambda text: len(self._ids(text, has_image)), legacy)
        total = sum(token != self.tokenizer.pad_token_id for token in ids)
        if counted < self.tokenizer.model_max_length and counted != total:
            logger.warning("tokenization mismatch: %d vs. %d; the sample is masked whole", counted, total)
            return [IGNORE_INDEX] * len(ids)
        return labels

    def _long(self, text: str, has_image: bool) -> int:
        """How long v0's rule takes a message for: one of text alone is cut, and its pad ids do not count."""
        ids = self._ids(text, has_image)
        if has_image:
            return len(ids)
        return sum(token != self.tokenizer.pad_token_id for token in ids[: self.tokenizer.model_max_length])


def _shared(ids: list[int], others: list[int]) -> int:
    """How many ids two lists begin with in common."""
    return len(os.path.commonprefix([ids, others]))


def check_messages(messages: list[Message], rule: Rule) -> None:
    """Refuse what a template cannot hold.

    Raises:
        InputError: for captions without a picture, and for a first question without a text under llama_2, which writes
            its instruction, system text and all, around that.
    """
    if rule == "plain" and (len(messages) != 2 or DEFAULT_IMAGE_TOKEN not in messages[0]["value"]):
        raise InputError(
            f"the template 'plain' takes a picture and its caption: got {len(messages)} messages"
            f"{'' if DEFAULT_IMAGE_TOKEN in messages[0]['value'] else ', the first without <image>'}; choose a chat "
            f"template with --version, or leave the sample out"
        )
    if rule == "llama_2" and not_asked(messages):
        raise InputError(NOT_ASKED)
