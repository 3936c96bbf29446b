"""What a method may ask before the LLM: in the vision encoder, of its other layers, of the question, of the projector.

Everything here is computed when it is asked for and not before. The images are views (LLaVA-1.5 has one of a picture),
filled up at their end where they differ in length.
"""

from typing import Protocol

import torch

from llava.reduction.base import Evidence

NEWLINE, NO_TOKEN = -1, -2  # in `ProjectedEvidence.parts`


class EncoderEvidence(Evidence, Protocol):
    """Evidence of one layer of the vision encoder about V views of n patches each.

    That of the layer whose output LLaVA uses is handed to `at_encoder`; `layer` gives that of others.
    """

    @property
    def views(self) -> tuple[int, ...]:
        """How many of the views, one after the other, are of each picture."""

    @property
    def whole_side(self) -> int:
        """Patches along one side of a view as it was handed in, before `grid` made it smaller."""

    def received_from_all(self) -> torch.Tensor:
        """(V, n) float32, what each patch gets from all tokens, [CLS] among them; mean over heads and tokens."""

    def single_head(self) -> tuple[torch.Tensor, torch.Tensor]:
        """[CLS]'s query (V, D) and all keys (V, 1 + n, D), [CLS] first, not split into heads and not scaled."""

    def layer(self, number: int) -> "EncoderEvidence":
        """Evidence of the layer with that number, from 0; one of those that the method's `encoder_layers` name."""

    def merged_into(self) -> torch.Tensor:
        """(V, patches) int64, the token each patch of the view went into; its own where `merges` asks for none."""

    def image_embeds(self) -> torch.Tensor:
        """(V, n, d) float32, the patches through CLIP's last norm and its projection for pictures.

        InputError where the tower's folder has no projection.
        """

    def text_embeds(self, texts: list[str], pieces: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Texts, one for each view, through CLIP's text tower and its projection for texts.

        Args:
            pieces: long texts in pieces of as many tokens as the tower takes, the last filled up with zeros; False:
                cut off there.

        Returns:
            (V, s, d) float32 and (V, s) bool, where there is a piece. InputError where there is no text tower.
        """

    def questions(self) -> list[str]:
        """The question about each view's picture: the words of the user's last turn, without the picture's token."""

    def words(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The LLM's embeddings of the question's tokens about each view: (V, w, D) and (V, w) bool, which are real."""


class ProjectedEvidence(Protocol):
    """Evidence about tokens as the LLM gets them, after the projector.

    The images are what the method's `after_projector` says: views, or pictures with all that their views have.
    """

    lengths: tuple[int, ...]
    """Tokens of each image."""
    valid: torch.Tensor
    """(I, n) bool, True where there is a token."""

    @property
    def values(self) -> torch.Tensor:
        """(I, n, D of the LLM), the tokens."""

    @property
    def encoder(self) -> EncoderEvidence:
        """That of the views the tokens are of."""

    def parts(self) -> torch.Tensor:
        """(I, n) int64 on the CPU, the part of its image that each token belongs to.

        The base view is 0, the tiles as one picture are 1; frames of a video are counted from 0. `NEWLINE` and
        `NO_TOKEN` are below zero.
        """

    def of_views(self, scores: torch.Tensor) -> torch.Tensor:
        """Scores (V, patches) of the views' patches -> (I, n), at the tokens that are those patches; zero elsewhere."""
