"""`forward` of a LLaVA model: prompts with images, embeddings, or new tokens of a request, to logits and a loss."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers.modeling_outputs import CausalLMOutputWithPast

from llava.constants import IGNORE_INDEX
from llava.errors import InputError
from llava.model.cache.staged_cache import StagedCache
from llava.model.call_checks import check_cache, check_positions, check_text
from llava.model.fusion import Plan, fuse_labels
from llava.model.geometry import drops_inside, geometry_of, video_geometry_of
from llava.model.image_inputs import longest_video
from llava.model.layer_parts import as_rows
from llava.model.layout import Layout
from llava.model.realign import Realigned, realign
from llava.model.sharded import gathers_by_call
from llava.model.targets import without_first
from llava.model.trace import Trace
from llava.model.wrapper import reduction_of_wrapper
from llava.reduction import Geometry, Method, Reduction, resolve

MANY_FRAMES = 10**6  # more than any video of one call has


@dataclass(frozen=True)
class DecoderInputs:
    """What the decoder is given: ids (B, T) or embeddings (B, T, D), padded on the left, and what is known of them.

    `ahead` (B, T): see `llava.model.places.ahead_of`.
    """

    input_ids: torch.Tensor | None = None
    embeds: torch.Tensor | None = None
    layout: Layout | None = None
    labels: torch.Tensor | None = None
    position_ids: torch.Tensor | None = None
    realigned: Realigned | None = None
    ahead: torch.Tensor | None = None


@dataclass
class LlavaOutput(CausalLMOutputWithPast):
    """transformers' output of a causal LM, and for a call with labels whether its loss is a mean of anything.

    Attributes:
        supervised: () bool: a label is left behind the cut at the most tokens of a row; False: the loss is no number.
    """

    supervised: torch.Tensor | None = None


class LlavaForward:
    """Mixed in before a causal LM: its `forward` takes images. State of a request is in its cache."""

    _reduction: Reduction

    @property
    def reduction(self) -> Reduction:
        """The method used where a call names none. Assigning another takes effect with the next call."""
        return self._reduction

    @reduction.setter
    def reduction(self, method: Method) -> None:
        self.set_reduction(method)

    def set_reduction(self, method: Method, frames: int = 0) -> None:
        """Assign `reduction`; with `frames`, one that is made for videos of that many."""
        self._reduction = resolve(method, self.geometry_for(frames))

    def method_of(self, named: Method, checked: bool = False, frames: int = 0) -> Reduction:
        """The method of a call: what it names, what a wrapper such as PEFT's was given, or the model's.

        Args:
            checked: a `Reduction` is taken as it is: it was checked when its request began.
            frames: of the longest video of the call, for which a name or a budget is made; 0: pictures. A `Reduction`
                may be one for longer videos: it is checked for what would fit no video.
        """
        if named is None:
            named = reduction_of_wrapper(self)
        if named is None:
            return self.reduction
        if isinstance(named, Reduction):
            return named if checked else resolve(named, self.geometry_for(MANY_FRAMES if frames else 0))
        return resolve(named, self.geometry_for(frames))

    @property
    def geometry(self) -> Geometry:
        """What a method must fit into, for pictures."""
        return self.geometry_for(0)

    def geometry_for(self, frames: int) -> Geometry:
        """What a method must fit into: for a video of so many frames, or for pictures (0)."""
        tower = self.get_vision_tower()
        if tower is None:
            return Geometry(self.config.num_hidden_layers, 0, stages=drops_inside(self.config))
        if frames:
            return video_geometry_of(self.config, tower.config, frames)
        return geometry_of(self.config, tower.config)

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: StagedCache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        images: Any = None,
        image_sizes: Any = None,
        return_dict: bool | None = None,
        layout: torch.Tensor | None = None,
        ahead: torch.Tensor | None = None,
        reduction: Method = None,
        trace: Trace | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        num_items_in_batch: torch.Tensor | int | None = None,
        modalities: Any = None,
        **kwargs: Any,
    ) -> LlavaOutput | tuple:
        """One pass over prompts with images, over embeddings, or over new tokens of a cached request.

        Args:
            input_ids: (B, L) int64, -200 where an image goes; or
            inputs_embeds: (B, L, D), text, in which no method drops anything.
            attention_mask: (B, L), 0 at padding, on any side.
            position_ids: (1 or B, L), of text; tokens around images are numbered anew, as LLaVA does.
            labels: (B, L) int64, -100 where there is no loss. They follow the text where image tokens are dropped.
            images, image_sizes, modalities: as in `generate`.
            layout: from `Layout.to_tensor`, with `inputs_embeds` that are already fused and padded on the left.
            ahead: their plan's (`llava.model.fusion.Plan`), of a method that leaves gaps between positions.
            reduction: the method, or its name (see `llava.reduction.resolve`); None: the model's.
            num_items_in_batch: what the loss is divided by, from a trainer that adds up several calls; None: the
                number of predicted labels.

        Returns:
            logits (B, T', V) of the tokens of the last stage, padded on the left, whatever the side of the prompt's;
            those of `inputs_embeds` in their own columns. A tuple with `return_dict=False`.
        """
        tokens = input_ids if inputs_embeds is None else inputs_embeds
        if tokens is None:
            raise InputError("a call needs a prompt: got neither input_ids nor inputs_embeds; give one of them")
        started = check_cache(past_key_values, tokens)
        check_positions(position_ids, tokens)
        if past_key_values is not None and past_key_values.masking is not None and tokens.shape[1] > 1:
            raise InputError(
                f"a method that masks image tokens chooses again for one new token at a time: got "
                f"{tokens.shape[1]}; run the whole prompt without past_key_values"
            )
        checked, frames = layout is not None, longest_video(images, modalities)
        method = None if started else self.method_of(reduction, checked, frames)
        given = DecoderInputs(input_ids, inputs_embeds, None, labels, position_ids)
        if layout is not None and inputs_embeds is not None:
            known = Layout.from_tensor(layout)
            own = without_first(labels, known) if labels is not None else None
            given = DecoderInputs(None, inputs_embeds, known, own, ahead=ahead)
        elif inputs_embeds is not None or started:
            check_text(input_ids, inputs_embeds, images, method if reduction is not None else None)
            given = self._without_padding(given, attention_mask, started)
        else:
            embeds, plan = self.prepare_inputs(
                input_ids, attention_mask, images, image_sizes, method, trace, modalities=modalities, labels=labels
            )
            given = from_plan(embeds, plan, labels, position_ids)
        asks = self.training and method is not None and method.layers and gathers_by_call(self.lm_head)
        recorded = {"output_attentions": output_attentions, "output_hidden_states": output_hidden_states}
        outputs = self.get_model()(
            input_ids=given.input_ids,
            inputs_embeds=given.embeds,
            position_ids=given.position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            layout=given.layout,
            ahead=given.ahead,
            reduction=method,
            trace=trace,
            labels=given.labels,
            idle=method.tokens_per_stage(self.geometry) if asks and method is not None else None,
            return_dict=True,
            **{name: value for name, value in recorded.items() if value is not None},
            **kwargs,
        )
        result = self._result(outputs, given.realigned, logits_to_keep, num_items_in_batch)
        as_dict = return_dict if return_dict is not None else self.config.return_dict
        return result if as_dict else result.to_tuple()

    def _without_padding(
        self, given: DecoderInputs, attention_mask: torch.Tensor | None, cached: bool
    ) -> DecoderInputs:
        """Text with the padding that a caller's mask names moved to the left; as it is where there is none."""
        count = (given.embeds if given.embeds is not None else given.input_ids).shape[1]  # type: ignore[union-attr]
        if attention_mask is None or (given.embeds is None and count == 1):  # nothing is asked in decoding
            return given
        embeds = given.embeds if given.embeds is not None else self.get_model().embed_tokens(given.input_ids)
        realigned = realign(embeds, attention_mask, cached)
        if realigned is None:
            return given
        moved = from_plan(realigned.embeds, realigned.plan, given.labels, given.position_ids)
        return replace(moved, realigned=realigned)

    def _result(
        self,
        outputs: Any,
        realigned: Realigned | None,
        logits_to_keep: int | torch.Tensor,
        num_items_in_batch: torch.Tensor | int | None,
    ) -> LlavaOutput:
        """Logits and loss of the decoder's outputs."""
        wanted = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        hidden, labels, loss, supervised = outputs.last_hidden_state, outputs.labels, None, None
        if realigned is None:
            hidden, labels = hidden[:, wanted], labels[:, wanted] if labels is not None else None
        logits = self.lm_head(as_rows(hidden))
        if labels is not None:
            shared = {} if num_items_in_batch is None else {"num_items_in_batch": num_items_in_batch}
            loss = self.loss_function(logits, labels, vocab_size=self.config.vocab_size, **shared)
            supervised = (labels[:, 1:] != IGNORE_INDEX).any()
        if realigned is not None:
            logits = realigned.restore(logits)[:, wanted]
        recorded = {
            name: outputs[name] for name in ("past_key_values", "hidden_states", "attentions") if name in outputs
        }
        return LlavaOutput(loss=loss, logits=logits, supervised=supervised, **recorded)


def from_plan(
    embeds: torch.Tensor, plan: Plan, labels: torch.Tensor | None, position_ids: torch.Tensor | None
) -> DecoderInputs:
    """Decoder inputs (B, T, D) as a plan has laid them out, with the labels and positions (B, L) of its prompts."""
    if labels is not None:
        labels = without_first(fuse_labels(labels, plan), plan.layout)
    if position_ids is not None:
        position_ids = fuse_labels(position_ids.expand(len(embeds), -1), plan).clamp(min=0)
    positions = position_ids if not plan.layout.spans else None
    return DecoderInputs(None, embeds, plan.layout, labels, positions, ahead=plan.ahead)
