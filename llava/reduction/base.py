"""The contract between a reduction method and the model that runs it.

A method is one frozen dataclass in one file of this folder. Its fields are its settings and become command-line flags.
The model hands it *evidence* about the image tokens of a layer and gets back a `Selection`; a method sees no model.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

import torch

from llava.errors import InputError
from llava.reduction.geometry import Geometry
from llava.reduction.paper import PaperSettings, settings_of
from llava.reduction.positions import KEEP, RENUMBER, check_choices
from llava.reduction.selection import Selection

if TYPE_CHECKING:
    from llava.reduction.encoder_evidence import EncoderEvidence, ProjectedEvidence


class Evidence(Protocol):
    """What a method may ask about I images; nothing is computed before it is asked for.

    In the encoder the images are views, their tokens the patches without [CLS]. In the LLM they are the image tokens
    as they are before the layer. Images of fewer than n tokens are filled up at the end.
    """

    lengths: tuple[int, ...]
    """Tokens of each image, now."""
    initial_lengths: tuple[int, ...]
    """Tokens of each image when it entered the LLM; in the encoder the same as `lengths`."""
    largest_lengths: tuple[int, ...]
    """For each image, what the largest that may come has on entering: the counts of a schedule are those of that one
    (see `stages.own_counts`). At least `initial_lengths`, and the same in the encoder."""
    valid: torch.Tensor
    """(I, n) bool, True where there is a token."""
    has_cls: bool
    """True in an encoder with [CLS]: there `attention_from_cls` may be asked for."""

    @property
    def values(self) -> torch.Tensor:
        """(I, n, D), the tokens that are kept or merged."""

    @property
    def pixels(self) -> torch.Tensor:
        """(I, 3, h, w), the views themselves as they were handed in, in their own dtype. Encoder only."""

    def keys(self) -> torch.Tensor:
        """(I, n, d) float32, the layer's keys averaged over heads (inside the LLM after RoPE)."""

    def attention_from_cls(self) -> torch.Tensor:
        """(I, H, 1, n) float32, the probabilities [CLS] gives to the patches. Encoder only."""

    def attention_from_image(self) -> torch.Tensor:
        """(I, H, n, n) float32, what the image's own tokens give to each other, of a softmax over all they may see."""

    def attention_from_last(self) -> torch.Tensor:
        """(I, H, 1, n) float32, what the last prompt token gives to the image tokens. LLM only."""


@dataclass(frozen=True)
class Reduction:
    """A method that keeps everything; subclasses override a stage or both."""

    reads_question: ClassVar[bool] = False
    """True where a choice depends on text after the image: such a method cannot share an image between questions."""
    layer_setting: ClassVar[str] = "layer_list"
    """The setting that says at which LLM layers it acts."""
    question_at_encoder: ClassVar[bool] = False
    """True where that is so before the LLM already: then not even an image's tokens can be shared."""
    after_projector: ClassVar[Literal["view", "patches", "image"] | None] = None
    """What `at_projector` chooses from: the patches of a view; those of all views of an image, one after the other; an
    image's tokens as they would enter the LLM, newlines among them. None: it is not asked."""
    positions_at_entry: ClassVar[bool] = False
    """True where `positions` is about tokens that are left before the LLM, too: they may enter it with gaps."""
    fragile: ClassVar[bool] = False
    """True where rounding decides on most images which tokens stay: whatever adds up in another order, a batch on a GPU
    for one, may choose others."""
    waits: ClassVar[bool] = False
    """True where its choice waits for the device, as torch's decompositions do to see whether they came to an end."""
    usual_budget: ClassVar[int | None] = None
    """Average image tokens per LLM layer that a method named by its name alone gets; None: it must be said."""

    paper: ClassVar[PaperSettings] = {}
    """Settings that were published for LLaVA-1.5, by the budget a table names them after; see `from_preset`."""

    @property
    def layers(self) -> list[int]:
        """LLM layers after which `at_layer` is asked, 1-based, rising: `8` means after 8 layers, before the ninth."""
        return list(getattr(self, "layer_list", []))

    @property
    def positions(self) -> str:
        """`keep` or `renumber`, once a stage inside the LLM has dropped tokens; a field in methods that have stages."""
        return RENUMBER

    @property
    def keeps_gaps(self) -> bool:
        """Tokens enter the LLM at the positions they had among all of their image's, of which others are gone."""
        return self.positions_at_entry and self.positions == KEEP

    @property
    def masks(self) -> bool:
        """Nothing is removed: later layers do not look at what was not kept, and every new token chooses again."""
        return False

    @property
    def recomputes(self) -> bool:
        """There is no KV cache: every new token runs the whole prompt again, which it then chooses by."""
        return False

    @property
    def chooses_again(self) -> bool:
        """Every new token of an answer chooses; there is no one choice of a prompt that a cache could hold."""
        return self.masks or self.recomputes

    @property
    def varies(self) -> bool:
        """How many tokens of an image enter the LLM depends on what it shows; `tokens_per_stage` says the most."""
        return False

    @property
    def image_start(self) -> int | None:
        """The token at which a row's image is taken to begin inside the LLM; None: where it does."""
        return None

    @property
    def encoder_layers(self) -> tuple[int, ...]:
        """Encoder layers of which evidence is asked besides that of the last that runs: from 0, or from the end, -1."""
        return ()

    def merges(self, patches: int, layers: int) -> tuple[int, ...]:
        """How many pairs of tokens each of the `layers` that run merges within itself, by ToMe's rule; (): none."""
        return ()

    def grid(self, side: int) -> tuple[int, int] | None:
        """Rows and columns of patches of the smaller picture that the encoder sees; None: the picture as it is."""
        return None

    def at_encoder(self, evidence: "EncoderEvidence") -> Selection | None:
        """What leaves the vision encoder; None: every patch, without [CLS]."""
        return None

    def at_projector(self, evidence: "ProjectedEvidence") -> Selection | None:
        """What is left of tokens as the LLM gets them; asked where `after_projector` says of what, and then alone."""
        return None

    def at_layer(self, stage: int, evidence: Any) -> Selection:
        """What is left after layer `layers[stage]`; asked only if there is such a layer.

        Args:
            evidence: an `Evidence`, and more (`llava.reduction.layer_evidence.LayerEvidence`).
        """
        raise NotImplementedError(f"{type(self).__name__} lists layers {self.layers} but reduces at none")

    def tokens_per_stage(self, geometry: Geometry) -> list[int]:
        """Image tokens in the LLM: at its first layer, then after each of `layers`, for the largest image."""
        return [geometry.most_tokens]

    def check(self, geometry: Geometry) -> None:
        """Refuse settings that do not fit a model, before its weights are loaded."""
        check_choices(self)
        if geometry.scales > 1 and self._changes_encoder(geometry):
            raise InputError(
                f"{name_of(self)} changes the tokens within the encoder, which a tower with s2 runs at "
                f"{geometry.scales} scales: got s2 true; choose another method"
            )
        if self.layers and not geometry.stages:
            raise InputError(
                f"nothing can be dropped between MPT's layers, which know distances (ALiBi) and no positions: got the "
                f"method '{name_of(self)}' with layer_list {self.layers}; take one of the encoder, such as visionzip"
            )
        if self.keeps_gaps and not geometry.stages:
            raise InputError(
                f"no gaps can be left between MPT's tokens, whose distances are counted (ALiBi): got the method "
                f"'{name_of(self)}', which keeps positions; take positions renumber, or another method"
            )
        late = [layer for layer in self.layers if layer >= geometry.layers]
        if late:
            raise InputError(
                f"{self.layer_setting} must stay below the number of LLM layers: got {late[0]}, expected at most "
                f"{geometry.layers - 1} for a model of {geometry.layers} layers; lower or remove it"
            )

    def _changes_encoder(self, geometry: Geometry) -> bool:
        """True where the encoder itself sees fewer tokens."""
        merging = any(self.merges(geometry.patches, geometry.encoder_layers))
        return merging or self.grid(geometry.side) is not None

    @classmethod
    def from_budget(cls, retain: int, geometry: Geometry) -> Self:
        """The method's own schedule for an average of `retain` image tokens per LLM layer."""
        raise InputError(f"--retain does not apply to the method '{name_of(cls)}'; leave it out")

    @classmethod
    def from_preset(cls, preset: str, geometry: Geometry) -> Self:
        """The published settings that a preset such as `paper-64` names, as they are; see `llava.reduction.paper`.

        Raises:
            InputError: where there are none, or not for such a picture.
        """
        return cls(**settings_of(name_of(cls), cls.paper, preset, geometry))


def name_of(method: Reduction | type[Reduction]) -> str:
    """The method's name: that of its file."""
    kind = method if isinstance(method, type) else type(method)
    return kind.__module__.rsplit(".", 1)[-1]
