"""The decoder loop that drops image tokens between layers: any LLaMA-like transformers model by inheritance.

The host's own layers, norm, rotary embedding and mask functions do the computing; this file only decides which tokens
each layer sees. With nothing to drop it is bit-equal to the host.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from llava.model.attention_kernels import runs_without_cudnn
from llava.model.cache.staged_cache import StagedCache
from llava.model.language_model.masks import layer_masks
from llava.model.language_model.reducing import Flow, Reducing, choose_again
from llava.model.layout import Layout
from llava.model.trace import Trace
from llava.reduction import Reduction
from llava.reduction.methods.none import Unreduced
from llava.reduction.positions import KEEP
from llava.reduction.sent import sent


@dataclass
class StagedOutput(BaseModelOutputWithPast):
    """transformers' output, and `labels` (B, T') of the last stage's tokens."""

    labels: torch.Tensor | None = None


class StagedDecoder:
    """Mixed in before a transformers decoder (`LlamaModel`); replaces its `forward` and nothing else."""

    layer_masks = staticmethod(layer_masks)  # another where a family's positions are in its masks

    @runs_without_cudnn
    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: StagedCache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        layout: Layout | None = None,
        ahead: torch.Tensor | None = None,
        reduction: Reduction | None = None,
        trace: Trace | None = None,
        labels: torch.Tensor | None = None,
        idle: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> StagedOutput:
        """Run the layers over new tokens, dropping image tokens where the method says.

        Args:
            input_ids: (B, T) int64, or
            inputs_embeds: (B, T, D), padded on the left.
            attention_mask: ignored; the layout and the cache know better. transformers passes it.
            position_ids: (1 or B, T), of text alone that nothing is cached of; None: those of the layout.
            past_key_values: what was seen before. Where it holds tokens, no LLM stage may act on new images.
            layout: real tokens and image spans of the new tokens; None: every token is real, no images.
            ahead: (B, T) int64, how much further on each token stands than it is counted; None: nowhere.
            reduction: the method; None keeps everything.
            trace: filled in where given.
            labels: (B, T) int64, in training; a method that reads the question reads those of the answers by them.
            idle: for each stage how many tokens of zeros the method is asked about where the batch has no image, so
                that every device calls the same modules; None: nothing is asked there.

        Returns:
            last_hidden_state (B, T', D) of the last stage's tokens, the last column being the last token; their labels;
            the cache.
        """
        hidden = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        layout = layout or Layout((hidden.shape[1],) * hidden.shape[0])
        assert layout.width == hidden.shape[1], f"layout of {layout.width} columns for {hidden.shape[1]}"
        if past_key_values is None and use_cache:
            past_key_values = StagedCache(self.config)
        method = reduction if reduction is not None and (layout.spans or idle) else Unreduced()
        if labels is not None and method.layers and method.reads_question:
            labels = labels.cpu()  # once, instead of asking the device at every stage
        assert not method.masks or method.positions == KEEP, "what is only masked stays where it is"
        bounds = stage_bounds(method.layers, len(self.layers))
        keeps = method.positions == KEEP
        if past_key_values is not None:
            if not past_key_values.stages:
                past_key_values.open(bounds, keeps)
            assert not method.layers or past_key_values.length(0) == 0, "image tokens are dropped in the first prefill"
            bounds = [(stage.first, stage.stop) for stage in past_key_values.stages]
            keeps = past_key_values.keeps_positions
        own_positions = layout.spans or (past_key_values is not None and past_key_values.length(0))
        given = None if own_positions else position_ids
        if past_key_values is not None and past_key_values.shared is not None:
            kwargs["shared_prefix"] = past_key_values.shared  # layers hand it down to the attention kernel

        flow = Flow(hidden, layout, labels, ahead=ahead)
        reducing = Reducing(self, method, flow, trace, idle)
        before: Any = None  # what entered the layer that ran last
        rotary: Any = None
        for number, (first, stop) in enumerate(bounds):
            flow = replace(flow, hidden=hidden)
            if number > 0 and method.layers:
                flow = reducing.before(first, number - 1, flow, before, rotary)
                hidden = flow.hidden
            elif number > 0 and past_key_values is not None and past_key_values.masking is not None:
                choose_again(self.layers, past_key_values, number, before, rotary, trace)
            filler, positions = _place(flow, past_key_values, number, given)
            view = past_key_values.view(number) if past_key_values is not None else None
            masks = self.layer_masks(self.config, hidden, filler, view, given, (first, stop))
            if keeps and number == 0:
                flow = replace(flow, positions=positions)
            if past_key_values is not None and number == 0:
                past_key_values.add_gaps(layout.gaps)
            rotary = self.rotary_emb(hidden, position_ids=positions)
            # Flash attention takes positions that do not count up by one for the sequences of a packed row.
            told = None if keeps and (number > 0 or ahead is not None) else positions
            for layer, mask in zip(self.layers[first:stop], masks):
                before = hidden
                hidden = layer(
                    hidden,
                    attention_mask=mask,
                    position_ids=told,
                    past_key_values=past_key_values,
                    use_cache=use_cache,
                    position_embeddings=rotary,
                    **kwargs,
                )
        if past_key_values is not None and method.masks and method.layers:
            past_key_values.masking = (method, reducing.spans(layout))
        return StagedOutput(last_hidden_state=self.norm(hidden), past_key_values=past_key_values, labels=flow.labels)


def stage_bounds(drop_after: list[int], layers: int) -> list[tuple[int, int]]:
    """First and last + 1 layer of each stage, where tokens are dropped after so many layers."""
    edges = [0, *drop_after, layers]
    return list(zip(edges, edges[1:]))


def _place(
    flow: Flow, cache: StagedCache | None, stage: int, given: torch.Tensor | None
) -> tuple[torch.Tensor | None, torch.Tensor]:
    """Padding (B, cached + T) and positions (1 or B, T) of new tokens in a stage; the padding is noted in the cache.

    Args:
        given: positions that a caller gave for text.
    """
    hidden, layout = flow.hidden, flow.layout
    count, device = hidden.shape[1], hidden.device
    past = cache.length(stage) if cache is not None else 0
    steps = torch.arange(count, device=device)
    new_filler = steps < layout.padding(device) if layout.padded else None
    if flow.unseen is not None:
        new_filler = flow.unseen if new_filler is None else new_filler | flow.unseen
    filler = new_filler if cache is None else cache.filler_and(stage, new_filler, count)
    if flow.positions is not None:
        positions = flow.positions.to(device)
    elif given is not None:
        positions = given
    elif filler is None:
        positions = (steps + past)[None]
    else:
        # A token's position is the number of real tokens before it.
        positions = ((~filler).cumsum(dim=1) - 1).clamp(min=0)[:, past:]
    if flow.positions is None and cache is not None:
        positions = positions + cache.prefix_length(stage) if cache.shared is not None else positions
        positions = positions + sent([[gap] for gap in cache.gaps], device) if cache.gaps else positions
    if flow.positions is None and flow.ahead is not None:
        positions = positions + flow.ahead.to(device)
    if cache is not None and new_filler is not None:
        cache.stages[stage].filler = filler
    return filler, positions
