"""The decoder loop that drops image tokens between layers: any LLaMA-like transformers model by inheritance.

The host's own layers, norm, rotary embedding and mask functions do the computing; this file only decides which tokens
each layer sees. With nothing to drop it is bit-equal to the host.
"""

from dataclasses import dataclass
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from llava.model.cache.staged_cache import StagedCache
from llava.model.devices import device_of
from llava.model.evidence.llama import LlamaEvidence
from llava.model.language_model.masks import layer_masks, windows_of
from llava.model.layout import Layout, splice
from llava.model.targets import asking_columns, follow, join_spans, split_spans
from llava.model.trace import StageTrace, Trace
from llava.reduction import Reduction, Selection
from llava.reduction.methods.none import Unreduced


@dataclass
class StagedOutput(BaseModelOutputWithPast):
    """transformers' output, and `labels` (B, T') of the last stage's tokens."""

    labels: torch.Tensor | None = None


class StagedDecoder:
    """Mixed in before a transformers decoder (`LlamaModel`); replaces its `forward` and nothing else."""

    layer_masks = staticmethod(layer_masks)  # another where a family's positions are in its masks

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
        reduction: Reduction | None = None,
        trace: Trace | None = None,
        labels: torch.Tensor | None = None,
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
            reduction: the method; None keeps everything.
            trace: filled in where given.
            labels: (B, T) int64, in training; a method that reads the question reads those of the answers by them.

        Returns:
            last_hidden_state (B, T', D) of the last stage's tokens, the last column being the last token; their labels;
            the cache.
        """
        hidden = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        layout = layout or Layout((hidden.shape[1],) * hidden.shape[0])
        assert layout.width == hidden.shape[1], f"layout of {layout.width} columns for {hidden.shape[1]}"
        if past_key_values is None and use_cache:
            past_key_values = StagedCache(self.config)
        method = reduction if reduction is not None and layout.spans else Unreduced()
        if labels is not None and method.layers and method.reads_question:
            labels = labels.cpu()  # once, instead of asking the device at every stage
        bounds = stage_bounds(method.layers, len(self.layers))
        if past_key_values is not None:
            if not past_key_values.stages:
                past_key_values.open(bounds)
            assert not method.layers or past_key_values.length(0) == 0, "image tokens are dropped in the first prefill"
            bounds = [(stage.first, stage.stop) for stage in past_key_values.stages]

        own_positions = layout.spans or (past_key_values is not None and past_key_values.length(0))
        given = None if own_positions else position_ids

        rotary: Any = None
        for number, (first, stop) in enumerate(bounds):
            if method.layers and number > 0:
                asking = asking_columns(labels) if labels is not None and method.reads_question else None
                asked, others = split_spans(layout, asking)
                if asked.spans:
                    # The layer asked may lie on another device than those before it.
                    hidden, *rotary = (states.to(device_of(self.layers[first])) for states in (hidden, *rotary))
                    window = windows_of(self.config)[first]
                    evidence = LlamaEvidence(self.layers[first], hidden, asked, rotary, asking, window)
                    step = _drop(first, method.at_layer(number - 1, evidence), hidden, asked)
                    labels = follow(labels, asked, step.after) if labels is not None else None
                    hidden, layout = step.leaving, join_spans(step.after, others)
                    if trace is not None:
                        trace.stages.append(step)
            filler, positions = _place(hidden, layout, past_key_values, number, given)
            view = past_key_values.view(number) if past_key_values is not None else None
            masks = self.layer_masks(self.config, hidden, filler, view, given, (first, stop))
            rotary = self.rotary_emb(hidden, position_ids=positions)
            for layer, mask in zip(self.layers[first:stop], masks):
                hidden = layer(
                    hidden,
                    attention_mask=mask,
                    position_ids=positions,
                    past_key_values=past_key_values,
                    use_cache=use_cache,
                    position_embeddings=rotary,
                    **kwargs,
                )
        return StagedOutput(last_hidden_state=self.norm(hidden), past_key_values=past_key_values, labels=labels)


def stage_bounds(drop_after: list[int], layers: int) -> list[tuple[int, int]]:
    """First and last + 1 layer of each stage, where tokens are dropped after so many layers."""
    edges = [0, *drop_after, layers]
    return list(zip(edges, edges[1:]))


def _drop(layer: int, selection: Selection, hidden: torch.Tensor, layout: Layout) -> StageTrace:
    """Hidden states (B, T, D) and their layout before and after a selection before a layer."""
    leaving, after = splice(hidden, layout, selection)
    return StageTrace(layer, selection, layout, after, hidden, leaving)


def _place(
    hidden: torch.Tensor, layout: Layout, cache: StagedCache | None, stage: int, given: torch.Tensor | None
) -> tuple[torch.Tensor | None, torch.Tensor]:
    """Padding (B, cached + T) and positions (1 or B, T) of new tokens in a stage; the padding is noted in the cache.

    Args:
        given: positions that a caller gave for text.
    """
    count, device = hidden.shape[1], hidden.device
    past = cache.length(stage) if cache is not None else 0
    steps = torch.arange(count, device=device)
    new_filler = steps < layout.padding(device) if layout.padded else None
    filler = new_filler if cache is None else cache.filler_and(stage, new_filler, count)
    if filler is None:
        positions = (steps + past)[None]
    else:
        # A token's position is the number of real tokens before it.
        positions = ((~filler).cumsum(dim=1) - 1).clamp(min=0)[:, past:]
        if cache is not None and new_filler is not None:
            cache.stages[stage].filler = filler
    return filler, positions if given is None else given
