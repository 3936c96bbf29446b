"""What a method inside the LLM may ask besides `Evidence`: about text, about the layer that has run, and the beginning.

"Text of an image" is what stands after it in its row and is no image's: of t tokens, filled up at the end. In training
it ends where the last answer begins. Images of a row are judged each by itself.
"""

from typing import Protocol

import torch

from llava.reduction.base import Evidence


class TokenEvidence(Protocol):
    """Image tokens and the text after them, as they are somewhere in the LLM; of I images."""

    lengths: tuple[int, ...]
    """Tokens of each image."""
    valid: torch.Tensor
    """(I, n) bool, True where there is an image token."""
    starts: tuple[int, ...]
    """Tokens of an image's row before it."""
    text_lengths: tuple[int, ...]
    """Tokens of each image's text."""
    text_valid: torch.Tensor
    """(I, t) bool, True where there is a text token."""

    @property
    def values(self) -> torch.Tensor:
        """(I, n, D), the image tokens."""

    @property
    def text_values(self) -> torch.Tensor:
        """(I, t, D), the text tokens."""


class LayerEvidence(Evidence, TokenEvidence, Protocol):
    """The layer to come, about the tokens that enter it."""

    @property
    def ran(self) -> "LayerEvidence":
        """The same about the layer that has just run: its attention and keys; its `values` are what entered it."""

    @property
    def entered(self) -> TokenEvidence:
        """The embeddings of these images and of their text, as they entered the LLM."""

    def keys_by_head(self) -> torch.Tensor:
        """(I, G, n, d) float32, the rotated keys of the image tokens; G key heads, each for H / G query heads."""

    def text_keys_by_head(self) -> torch.Tensor:
        """(I, G, t, d) float32, those of the text."""

    def attention_from_text(self) -> torch.Tensor:
        """(I, H, t, n) float32, what each text token gives to the image tokens; zero where there is no token."""

    def rotary_products_from_text(self) -> torch.Tensor:
        """(I, t, n) float32: what rotary embedding alone makes of a text and an image token.

        The scaled dot product of two vectors of ones, rotated by the tokens' positions.
        """

    def through_last_norm(self, states: torch.Tensor) -> torch.Tensor:
        """(..., D) -> (..., D): hidden states through the norm after the LLM's last layer."""
