"""Batches of prepared questions to texts: images encoded once and kept, batches halved where memory runs out."""

import sys
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from tqdm import tqdm

from llava.errors import InputError
from llava.eval.runs.inputs import PreparedQuestions, modality_of
from llava.eval.runs.memory import is_out_of_memory
from llava.eval.runs.tally import counted
from llava.model.generation.prefix import ImagePrefix, split_prompt
from llava.model.generation.prefix_store import PrefixStore
from llava.model.generation.static_decoder import StaticDecoder
from llava.model.generation.stops import Stops
from llava.model.trace import CountTrace
from llava.reduction import Reduction

Item = tuple[torch.Tensor, torch.Tensor | None, Any]


@dataclass
class Answering:
    """Answers questions of one run with one model.

    Attributes:
        keys: what makes the pictures of questions the same, by the question's number; None: it has none.
        generation: arguments of `ask`.
        stops: where an answer ends.
        seed: of sampling; a batch starts from it and the number of its first question. None: greedy.
        store: prefixes kept from earlier batches.
        limit: questions answered at once; halved when memory runs out.
        decoder: decodes without launch overhead; None: as usual.
        methods: of pictures and of videos, by modality; what is not named has the model's. Questions under different
            ones are not asked together.
        alone: questions about one picture answered at once, where their rows read its prefix where it lies; halved
            likewise. None: no batch is planned for that.
        counted: image tokens per LLM layer of each question that was answered about a picture, by its number.
    """

    model: Any
    data: PreparedQuestions
    keys: list[Hashable]
    generation: dict[str, Any]
    stops: Stops
    seed: int | None
    store: PrefixStore
    limit: int
    decoder: StaticDecoder | None = None
    methods: Mapping[str, Reduction] = field(default_factory=dict)
    counted: dict[int, float] = field(default_factory=dict)
    alone: int | None = None

    def answer(self, numbers: list[int], items: list[Item]) -> Iterator[dict[int, str]]:
        """Answers, without outer white space, by the number of the question; in parts where not all fit at once.

        Raises:
            InputError: for a picture that cannot be read, or one question that does not fit into memory.
        """
        at = 0
        while at < len(numbers):
            part = slice(at, at + self._most(numbers[at:]))
            texts: dict[int, str] = {}
            try:
                texts = self._answer_at_once(numbers[part], items[part])
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            if texts:
                at += len(texts)
                yield texts
            else:  # outside the handler, whose traceback keeps tensors alive
                self._make_room(numbers[part])

    def _most(self, numbers: list[int]) -> int:
        """How many of them to answer at once."""
        return self.alone if self.alone is not None and self._are_alone(numbers) else self.limit

    def _are_alone(self, numbers: list[int]) -> bool:
        """Whether these questions are about one picture, whose prefix their rows can read where it lies."""
        first = self.keys[numbers[0]]
        return self.alone is not None and first is not None and all(self.keys[n] == first for n in numbers)

    def _make_room(self, numbers: list[int]) -> None:
        """After running out of memory: let go of all prefixes and buffers, and try half as many questions."""
        rows = len(numbers)
        self.store.clear()
        if self.decoder is not None:
            self.decoder.forget()
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
        if rows == 1:
            if not self.store.limit:
                raise InputError(
                    "one question must fit into memory: it does not; keep fewer image tokens (--retain), load fewer "
                    "bits (--dtype, --load-8bit, --load-4bit) or use a larger device"
                )
            self.store.limit = 0  # keep nothing from here on
        half = max(1, rows // 2)
        if self._are_alone(numbers):  # copies of a prefix would take more still
            self.alone, self.limit = half, min(self.limit, half)
        else:
            self.limit = half
        tqdm.write(f"out of memory with {rows} questions at once; going on with {half}", file=sys.stderr)

    def _answer_at_once(self, numbers: list[int], items: list[Item]) -> dict[int, str]:
        prefixes = self._prefixes(numbers, items)
        if self.seed is not None:
            torch.manual_seed(self.seed + numbers[0])
        arguments = self.generation | self.stops.arguments(self.data.tokenizer)
        asked, trace = [ids for ids, _, _ in items], CountTrace()
        tokens = self.model.ask(prefixes, asked, decoder=self.decoder, trace=trace, **arguments)
        layers = self.model.config.num_hidden_layers
        self.counted |= {numbers[row]: tokens for row, tokens in counted(prefixes, trace, layers).items()}
        texts = self.data.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return {number: self.stops.cut(text) for number, text in zip(numbers, texts)}

    def _prefixes(self, numbers: list[int], items: list[Item]) -> list[ImagePrefix | None]:
        """The prefix of each question; those of new images are encoded together and kept."""
        keys = [self._prefix_key(number, ids) for number, (ids, _, _) in zip(numbers, items)]
        found = {key: self.store.get(key) for key in keys if key is not None}
        new: dict[Hashable, tuple[int, Item]] = {}
        for key, number, item in zip(keys, numbers, items):
            if key is not None and found[key] is None and (key not in new or item[1] is not None):
                new[key] = (number, item)
        if new:
            # A batch that was cut, or a prefix that had to go, leaves a picture to be read here.
            shown = [item if item[1] is not None else self._read(number) for number, item in new.values()]
            asked = [self.data.modality(number) for number, _ in new.values()]
            for key, prefix in zip(new, self._encoded(shown, asked)):
                found[key] = prefix
                self.store.put(key, prefix)
        return [found[key] if key is not None else None for key in keys]

    def _encoded(self, items: list[Item], asked: list[str]) -> list[ImagePrefix]:
        """Prefixes of pictures and videos, which `asked` tells apart, that are encoded together."""
        ids, pixels, sizes = (list(column) for column in zip(*items))
        kinds = [modality_of(kind, seen) for kind, seen in zip(asked, pixels)]
        return self.model.encode_prefixes(ids, pixels, sizes, self.methods.get(asked[0]), kinds, self.decoder)

    def _prefix_key(self, number: int, ids: torch.Tensor) -> Hashable:
        """A prefix is of a picture and of the text before it, and perhaps of the question."""
        key, prompt = self.keys[number], tuple(ids.tolist())
        if key is None:
            return None
        return key, prompt if self.model.reduction.question_at_encoder else split_prompt(prompt)[0]

    def _read(self, number: int) -> Item:
        item = self.data[number]
        if isinstance(item, InputError):
            raise item
        return item
