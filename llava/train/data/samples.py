"""The file of conversations that LLaVA is trained on, judged whole before anything is loaded."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.errors import InputError, one_line, shown
from llava.files.pictures import check_image, refuse_address
from llava.files.reading import check_regular, kind_of, read_json
from llava.train.data.placing import Message
from llava.train.data.rendering import SPEAKERS, asked, not_asked
from llava.train.data.template import NOT_ASKED, Rule

REMEDY = "mend it; of JSON Lines make one list, [line, line, ...]"
# Where other programs' files name what a sample shows. Trained without it, it would be a text about nothing.
OTHER_KEYS = ("images", "image_path", "image_url", "img", "picture", "pictures", "video", "videos")
MOST_NAMED = 10  # faults that are written out; the others are counted


@dataclass(frozen=True)
class Sample:
    """One conversation.

    Attributes:
        number: its place in the file, from 0.
        messages: alternating, each with a text.
        images: paths of its pictures relative to the image folder, in the order of their <image>.
    """

    number: int
    messages: tuple[Message, ...]
    images: tuple[str, ...] = ()

    @property
    def words(self) -> int:
        """Words of all messages as they stand in the file, <image> counted: LLaVA's measure of length."""
        return sum(len(message["value"].split()) for message in self.messages)


@dataclass(frozen=True)
class Samples:
    """The samples that can be trained on, and how many were left out for having nothing to train on."""

    kept: tuple[Sample, ...]
    silent: tuple[int, ...] = ()


def read_samples(
    path: str,
    image_folder: str | None,
    rule: Rule = "v1",
    check_pictures: bool = True,
    official: bool = False,
    square: bool = False,
) -> Samples:
    """LLaVA's JSON: a list of {"conversations": [{"from": "human" or "gpt", "value": text}, ...], "image": path}.

    Args:
        image_folder: what paths of pictures are relative to.
        rule: the template's: `plain` takes exactly a question with <image> and a caption, `llama_2` a question that
            has a text.
        check_pictures: open the head of every picture, and look at its end.
        official: as LLaVA takes them: samples without an answer stay, and train on nothing; a picture that no message
            names is not seen, and several <image> in one message stand for one picture.
        square: pictures will be padded to squares.

    Raises:
        InputError: one line that says what is wrong, where, and how often.
    """
    held = read_json(path, "the training data", REMEDY)
    if not isinstance(held, list) or not held:
        got = "an empty list" if held == [] else kind_of(held)
        raise InputError(
            f"the training data must be a list of samples: {shown(path, 300)} holds {got}; write "
            f'[{{"conversations": [...]}}, ...]'
        )
    faults: list[str] = []
    samples: list[Sample] = []
    for number, row in enumerate(tqdm(held, desc="samples", unit="", leave=False, delay=5)):
        problem = next(_problems(row, rule, official), None) or _missing(row, image_folder, check_pictures, square)
        if problem is not None:
            faults.append(f"sample {number}: {problem}")
        else:
            samples.append(Sample(number, tuple(_messages(row)), images_of(row)))
    if faults:
        listed = "; ".join(faults[:MOST_NAMED])
        more = f"; and {len(faults) - MOST_NAMED} more" if len(faults) > MOST_NAMED else ""
        raise InputError(
            f"{len(faults)} of {len(held)} samples of {shown(path, 300)} cannot be trained on: {listed}{more}; mend "
            f"or remove them"
        )
    silent = () if official else tuple(sample.number for sample in samples if not _answers(sample))
    kept = tuple(sample for sample in samples if official or _answers(sample))
    if not kept:
        raise InputError(f"{shown(path, 300)} holds no answer to train on: all its {len(held)} samples have none")
    return Samples(kept, silent)


def images_of(row: dict[str, Any]) -> tuple[str, ...]:
    """The pictures of a sample: one path, or a list of them."""
    named = row.get("image")
    return () if named is None else (named,) if isinstance(named, str) else tuple(named)


def _messages(row: dict[str, Any]) -> list[Message]:
    return [{"from": message["from"], "value": message["value"]} for message in row["conversations"]]


def _answers(sample: Sample) -> bool:
    """Whether a sample has an answer: text by gpt that follows a question."""
    return any(message["from"] == "gpt" and message["value"] for message in asked(sample.messages))


def _problems(row: Any, rule: Rule, official: bool) -> Iterator[str]:
    """What is wrong with a sample by itself, the first first."""
    if not isinstance(row, dict):
        yield f"must be an object: got {shown(row)}"
        return
    talk = row.get("conversations")
    if not isinstance(talk, list) or not talk:
        yield f"'conversations' must be a list of messages: got {shown(talk)}"
        return
    for at, message in enumerate(talk):
        yield from _of_message(at, message)
    speakers = [message["from"] for message in talk]
    for at, (before, after) in enumerate(zip(speakers, speakers[1:]), 1):
        if before == after:
            yield f"speakers must take turns: messages {at - 1} and {at} are both by {before}"
    named = row.get("image")
    if "image" in row and not _are_paths(named):
        yield f"'image' must be a path or a list of paths: got {shown(named)}"
        return
    other = next((key for key in OTHER_KEYS if row.get(key)), None)
    if "image" not in row and other is not None:
        yield f"'image' must name its pictures: got {other!r}, which is not read; a video is a list of frames"
    pictures, tags = len(images_of(row)), sum(_tags(message["value"], official) for message in talk)
    if pictures and tags != pictures and not (official and tags == 0):
        yield f"needs one <image> per picture: got {tags} for {pictures}"
    if rule == "plain" and (len(talk) != 2 or speakers[0] != "human" or not pictures):
        yield f"the template 'plain' takes a question with <image> and a caption: got {len(talk)} messages, {tags} tags"
    if rule == "plain" and pictures and _tags(talk[0]["value"], official) != pictures:
        yield "the template 'plain' takes its <image> in the question"
    if rule == "llama_2" and not_asked(talk):
        yield NOT_ASKED


def _of_message(at: int, message: Any) -> Iterator[str]:
    if not isinstance(message, dict) or not {"from", "value"} <= message.keys():
        yield f"message {at} must be an object with 'from' and 'value': got {shown(message)}"
    elif message["from"] not in SPEAKERS:
        yield f"message {at} must be from human or gpt: got {shown(message['from'])}"
    elif not isinstance(message["value"], str):
        yield f"message {at} must have a text: got {shown(message['value'])}"
    elif "\x00" in message["value"]:
        yield f"message {at} must be text: it holds a NUL character"


def _tags(text: str, official: bool) -> int:
    """How many pictures a text names, with those that come about where one <image> is taken out to be put in front."""
    count, left = text.count(DEFAULT_IMAGE_TOKEN), text.replace(DEFAULT_IMAGE_TOKEN, "")
    if official:
        return count and 1 + left.count(DEFAULT_IMAGE_TOKEN)
    return count and count + _tags(left, official)


def _are_paths(named: Any) -> bool:
    paths: Sequence[Any] = [named] if isinstance(named, str) else named if isinstance(named, list) else ()
    return bool(paths) and all(isinstance(path, str) and path and "\x00" not in path for path in paths)


def _missing(row: dict[str, Any], image_folder: str | None, check_pictures: bool, square: bool) -> str | None:
    """What is wrong with a sample's pictures."""
    for name in images_of(row):
        if image_folder is None:
            return f"names the picture {shown(name)}, and no --image_folder is given"
        path = os.path.join(image_folder, name)
        try:
            if not os.path.lexists(path):
                refuse_address(name, "a picture")
                return f"picture {shown(path, 300)} is not there"
            check_regular(path, "a picture")
            if check_pictures:
                check_image(path, square)
        except InputError as error:
            return one_line(error)
    return None
