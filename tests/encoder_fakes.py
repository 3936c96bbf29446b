"""Evidence before the LLM made of random numbers, for tests of methods without a model."""

from dataclasses import dataclass
from typing import Any, Self

import torch
from fakes import FakeEvidence

from llava.reduction import Reduction, Selection

PATCHES, SIDE = 64, 8


@dataclass
class FakeViews:
    """What a method may ask about views of SIDE x SIDE patches, the same numbers whenever it asks."""

    last: FakeEvidence
    others: dict[int, FakeEvidence]
    projected_values: torch.Tensor
    image_rows: torch.Tensor
    text_rows: torch.Tensor
    word_rows: torch.Tensor
    into: torch.Tensor | None = None
    whole_side: int = SIDE

    def __getattr__(self, name: str) -> Any:
        return getattr(self.last, name)

    @property
    def views(self) -> tuple[int, ...]:
        return (1,) * len(self.last.lengths)

    @property
    def cls_token(self) -> torch.Tensor:
        return self.last.values[:, :1]

    def received_from_all(self) -> torch.Tensor:
        return torch.cat([self.last.cls_rows, self.last.image_rows], dim=2).mean(dim=(1, 2))

    def single_head(self) -> tuple[torch.Tensor, torch.Tensor]:
        keys = self.last.key_rows.float()
        return keys[:, 3] * 6, torch.cat([keys[:, :1], keys], dim=1)

    def layer(self, number: int) -> "FakeViews":
        return FakeViews(self.others[number], self.others, *self._rest())

    def merged_into(self) -> torch.Tensor:
        own = torch.arange(PATCHES).expand(len(self.views), -1)
        return own if self.into is None else self.into

    def image_embeds(self) -> torch.Tensor:
        return self.image_rows

    def text_embeds(self, texts: list[str], pieces: bool) -> tuple[torch.Tensor, torch.Tensor]:
        assert len(texts) == len(self.text_rows)
        there = torch.ones(self.text_rows.shape[:2], dtype=torch.bool)
        return self.text_rows, there

    def questions(self) -> list[str]:
        return ["What is it?"] * len(self.views)

    def words(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.word_rows, torch.ones(self.word_rows.shape[:2], dtype=torch.bool)

    def _rest(self) -> tuple[Any, ...]:
        return (self.projected_values, self.image_rows, self.text_rows, self.word_rows, self.into, self.whole_side)

    def row(self, index: int) -> Self:
        """One view of the batch alone."""
        one = slice(index, index + 1)
        values, images, texts, words, into, side = self._rest()
        others = {number: other.row(index) for number, other in self.others.items()}
        into = None if into is None else into[one]
        return type(self)(self.last.row(index), others, values[one], images[one], texts[one], words[one], into, side)

    @classmethod
    def random(cls, method: Reduction, views: int, dtype: torch.dtype = torch.float32, has_cls: bool = True) -> Self:
        """Views as the method would have the encoder see them: smaller, or with patches merged."""
        generator = torch.Generator().manual_seed(7)
        grid, merged = method.grid(SIDE), sum(method.merges(PATCHES, 23))
        count = grid[0] * grid[1] if grid is not None else PATCHES - merged
        evidence = [
            FakeEvidence.random((count,) * views, has_cls=has_cls, dtype=dtype, seed=seed)
            for seed in range(1 + len(method.encoder_layers))
        ]
        into = None
        if merged:
            order = torch.rand(views, PATCHES, generator=generator).argsort(dim=1)
            into = order % count
        return cls(
            evidence[0],
            dict(zip(method.encoder_layers, evidence[1:])),
            torch.randn(views, count, 24, generator=generator).to(dtype),
            torch.randn(views, count, 6, generator=generator),
            torch.randn(views, 2, 6, generator=generator),
            torch.randn(views, 5, 24, generator=generator),
            into,
        )


@dataclass
class FakeProjected:
    """The same views after the projector."""

    encoder: FakeViews

    @property
    def lengths(self) -> tuple[int, ...]:
        return self.encoder.lengths

    @property
    def valid(self) -> torch.Tensor:
        return self.encoder.valid

    @property
    def values(self) -> torch.Tensor:
        return self.encoder.projected_values

    def parts(self) -> torch.Tensor:
        return torch.zeros(self.values.shape[:2], dtype=torch.long)

    def of_views(self, scores: torch.Tensor) -> torch.Tensor:
        return scores


def before_the_llm(method: Reduction, evidence: FakeViews) -> Selection | None:
    """What a method leaves of views, where it is asked."""
    if method.after_projector is None:
        return method.at_encoder(evidence)  # type: ignore[arg-type]
    return method.at_projector(FakeProjected(evidence))  # type: ignore[arg-type]


def offered(method: Reduction, evidence: FakeViews) -> torch.Tensor:
    """(V, n, D), the tokens it chooses from."""
    return evidence.values if method.after_projector is None else evidence.projected_values
