"""CLIP's other half: text tower, its tokenizer, and the two projections, for methods that ask CLIP about the question.

Read from the vision tower's folder when a method asks and not before; kept as long as the tower is.
"""

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer
from transformers.utils import logging

from llava.errors import InputError, shown
from llava.files.reading import reason
from llava.model.checkpoint.config import ACTIVATIONS, DOES_NOT_FIT
from llava.model.checkpoint.folder import Folder
from llava.model.checkpoint.rules import Rule, check, number, whole
from llava.model.checkpoint.tensors import read_weights
from llava.model.loading.names import compare
from llava.model.multimodal_encoder.tower_configs import has_cls
from llava.reduction.precision import without_autocast
from llava.reduction.sent import sent

GEOMETRY: dict[str, Rule] = {
    "vocab_size": whole(1, 2**20),
    "hidden_size": whole(1, 2**14),
    "intermediate_size": whole(1, 2**16),
    "projection_dim": whole(1, 2**16),
    "num_hidden_layers": whole(1, 256),
    "num_attention_heads": whole(1, 256),
    "max_position_embeddings": whole(2, 4096),
    "hidden_act": ACTIVATIONS,
    "layer_norm_eps": number(0, 1),
}
REMEDY = "put the whole CLIP (config.json, weights, vocab.json, merges.txt) there, or choose another method"

# One for each tower, gone with it; nothing is written on the model.
_read: "weakref.WeakKeyDictionary[nn.Module, ClipHalf]" = weakref.WeakKeyDictionary()


class ClipHalf:
    """What a CLIP has besides its vision encoder.

    Args:
        text: transformers' text tower with its projection.
        visual: (d, D) float, the projection of pictures.
        tokenizer: called with a list of texts.
    """

    def __init__(self, text: CLIPTextModelWithProjection, visual: torch.Tensor, tokenizer: Any) -> None:
        self.text, self.visual, self.tokenizer = text.eval().requires_grad_(False), visual, tokenizer
        self.longest: int = text.config.max_position_embeddings

    @torch.no_grad()
    def image_embeds(self, patches: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
        """(V, n, D) features and CLIP's last norm -> (V, n, d) float32."""
        with without_autocast(patches.device):
            width, weight, bias = norm.normalized_shape, norm.weight.float(), norm.bias.float()
            states = nn.functional.layer_norm(patches.float(), width, weight, bias, norm.eps)
            return states @ self.visual.to(patches.device, torch.float32).T

    @torch.no_grad()
    def text_embeds(
        self, texts: Sequence[str], pieces: bool, device: torch.device, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `EncoderEvidence.text_embeds`. The same text is read once."""
        different = list(dict.fromkeys(texts))
        rows: list[list[int]] = []
        owners: list[int] = []
        for owner, ids in enumerate(self._ids(different)):
            cut = range(0, len(ids), self.longest) if pieces else (0,)
            rows += [self._fitted(ids, start, pieces) for start in cut]
            owners += [owner] * len(cut)
        embeds = self._run(rows, device, dtype)
        counts = [owners.count(owner) for owner in range(len(different))]
        most = max(counts)
        place = [[min(sum(counts[:n]) + at, len(rows) - 1) for at in range(most)] for n in range(len(different))]
        chosen = sent([different.index(text) for text in texts], device)
        there = torch.arange(most, device=device) < sent(counts, device)[:, None]
        return embeds[sent(place, device)][chosen], there[chosen]

    def _ids(self, texts: list[str]) -> list[list[int]]:
        level = logging.get_verbosity()
        logging.set_verbosity_error()  # that a text is longer than the tower takes is no news here
        try:
            return [list(ids) for ids in self.tokenizer(texts).input_ids]
        finally:
            logging.set_verbosity(level)

    def _fitted(self, ids: list[int], start: int, pieces: bool) -> list[int]:
        """What the tower takes of a text from a token on; cut off, the last token is the one that ends it."""
        if pieces or len(ids) <= self.longest:
            return ids[start : start + self.longest]
        return [*ids[: self.longest - 1], ids[-1]]

    def _run(self, rows: list[list[int]], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """(R, d) float32: what the tower makes of each row at its largest id, which ends a text that is whole."""
        widest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (widest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (widest - len(row)) for row in rows])
        ends = torch.tensor([max(range(len(row)), key=lambda at, row=row: (row[at], -at)) for row in rows])
        self.text.to(device, dtype)
        with without_autocast(device):
            states = self.text.text_model(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state
            pooled = states[torch.arange(len(rows), device=device), ends.to(device)]
            return self.text.text_projection(pooled).float()


def clip_half_of(tower: Any) -> ClipHalf:
    """The other half of a vision tower's CLIP.

    Raises:
        InputError: when the tower's folder is not that of a whole CLIP.
    """
    if tower not in _read:
        _read[tower] = _loaded(tower)
    return _read[tower]


def give_clip_half(tower: nn.Module, half: ClipHalf) -> None:
    """Use this one for a tower: of a model that comes from no folder."""
    _read[tower] = half


def _loaded(tower: Any) -> ClipHalf:
    if not has_cls(tower.config):
        raise InputError(
            f"a method that reads the question with CLIP's text tower needs a CLIP tower: got "
            f"{shown(tower.vision_tower_name)}, a SigLIP; choose another method"
        )
    source = tower.source
    if source.name is None:
        raise InputError(
            f"a method that reads the question with CLIP's text tower needs the vision tower's own folder: got "
            f"{shown(tower.vision_tower_name)}, known by its geometry alone; {REMEDY.replace('there', 'at its name')}"
        )
    folder = Folder(source.name)
    raw = folder.read_object("config.json") or {}
    settings = raw.get("text_config")
    vocabulary, merges = folder.find("vocab.json"), folder.find("merges.txt")
    if not isinstance(settings, dict) or raw.get("model_type") != "clip" or vocabulary is None or merges is None:
        raise InputError(
            f"a method that reads the question with CLIP's text tower needs it in the vision tower's folder: "
            f"{shown(source.name, 300)} has none; {REMEDY}"
        )
    geometry = {name: value for name, value in settings.items() if name in GEOMETRY}
    check(geometry, GEOMETRY, "text_config of CLIP's config.json", folder.path)
    if "projection_dim" not in geometry and type(raw.get("projection_dim")) is int:
        geometry["projection_dim"] = raw["projection_dim"]
    state = read_weights(folder)
    try:
        text = CLIPTextModelWithProjection(CLIPTextConfig(**geometry, bos_token_id=0, eos_token_id=2))
        tokenizer = CLIPTokenizer.from_pretrained(source.name)
    except DOES_NOT_FIT as error:
        raise InputError(
            f"CLIP's text tower must fit: {shown(source.name, 300)} does not ({reason(error)}); fetch it again"
        ) from error
    kept = {name: state[name] for name in state if name.startswith(("text_model.", "text_projection."))}
    own = {name: tensor for name, tensor in kept.items() if not name.endswith("position_ids")}
    compare(own, text.state_dict(), set(), source.name)
    text.load_state_dict({name: tensor[...] for name, tensor in own.items()})
    projection = state.get("visual_projection.weight")
    visual = None if projection is None else projection[...]
    if visual is None or visual.shape != (text.config.projection_dim, tower.config.hidden_size):
        raise InputError(
            f"CLIP's visual_projection must take the vision tower's features: {shown(source.name, 300)} has "
            f"{'none' if visual is None else tuple(visual.shape)}, expected "
            f"{(text.config.projection_dim, tower.config.hidden_size)}; {REMEDY}"
        )
    return ClipHalf(text, visual, tokenizer)
