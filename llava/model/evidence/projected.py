"""What a method may ask about tokens after the projector: of views, or of whole pictures."""

from collections.abc import Callable

import torch

from llava.reduction.encoder_evidence import NO_TOKEN, EncoderEvidence
from llava.reduction.rules.basics import places
from llava.reduction.sent import sent


class ViewEvidence:
    """Evidence of the projected patches of V views. Implements `llava.reduction.ProjectedEvidence`.

    Args:
        values: (V, n, D), the projected patches.
        encoder: evidence of the layer they left.
    """

    def __init__(self, values: torch.Tensor, encoder: EncoderEvidence) -> None:
        self.values, self.encoder = values, encoder
        self.lengths, self.valid = encoder.lengths, encoder.valid.to(values.device)

    def parts(self) -> torch.Tensor:
        """(V, n) int64: a view has one part."""
        return torch.zeros(self.values.shape[:2], dtype=torch.long)

    def of_views(self, scores: torch.Tensor) -> torch.Tensor:
        """The scores as they are."""
        return scores.to(self.values.device)


class PictureEvidence:
    """Evidence of the tokens of I pictures, all views of a picture together.

    Args:
        tokens: (total, D), of all pictures one after the other.
        lengths: tokens of each picture.
        encoder: evidence of the layer that the views' patches left.
        order: (total,) int64, for each token the number of its patch among those of all views; what is no patch (a
            newline, a blend of patches) has a number beyond. None: the tokens are the patches.
        parts: gives (total,) int64 on the CPU, the part of each token; None: the first view is one, the others are one.
    """

    def __init__(
        self,
        tokens: torch.Tensor,
        lengths: tuple[int, ...],
        encoder: EncoderEvidence,
        order: torch.Tensor | None,
        parts: Callable[[], torch.Tensor] | None = None,
    ) -> None:
        self.lengths, self.encoder, self._order, self._parts = lengths, encoder, order, parts
        self.valid = places(lengths, max(lengths), tokens.device)
        self.values = self._by_picture(tokens)

    def parts(self) -> torch.Tensor:
        """(I, m) int64 on the CPU."""
        if self._parts is not None:
            own = list(self._parts().split(list(self.lengths)))
        else:
            firsts = [length // views for length, views in zip(self.lengths, self.encoder.views, strict=True)]
            own = [(torch.arange(length) >= first).long() for length, first in zip(self.lengths, firsts)]
        return torch.nn.utils.rnn.pad_sequence(own, batch_first=True, padding_value=NO_TOKEN)

    def of_views(self, scores: torch.Tensor) -> torch.Tensor:
        """(V, n) -> (I, m): each patch's score at its token; zero for what is no patch, and for filling."""
        flat = scores.to(self.values.device).flatten()
        if self._order is not None:
            found = torch.cat([flat, flat.new_zeros(1)])
            flat = found[sent(self._order, flat.device).clamp(max=len(flat))]
        return self._by_picture(flat[:, None])[..., 0]

    def _by_picture(self, flat: torch.Tensor) -> torch.Tensor:
        """(total, D) -> (I, m, D), zero behind a picture's own."""
        if min(self.lengths) == max(self.lengths):
            return flat.unflatten(0, (len(self.lengths), -1))
        return torch.nn.utils.rnn.pad_sequence(list(flat.split(list(self.lengths))), batch_first=True)
