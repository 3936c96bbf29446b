"""Which language models LLaVA stands on here, by `model_type`, and what to take in the place of any other."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedConfig

from llava.errors import InputError, shown
from llava.model.checkpoint.language import LLAMA, MISTRAL, MPT, QWEN
from llava.model.checkpoint.rules import Rule
from llava.model.language_model.llava_config import LlavaConfig, LlavaMistralConfig, LlavaMptConfig, LlavaQwenConfig


@dataclass(frozen=True)
class Family:
    """A language model with eyes.

    Attributes:
        name: in words.
        config: its configuration's class.
        plain: `model_type` of the language model without eyes, which training starts from.
        rules: what `config.json` may say of the language model.
    """

    name: str
    config: type[PreTrainedConfig]
    plain: str
    rules: Mapping[str, Rule]


FAMILIES = {
    "llava_llama": Family("LLaMA", LlavaConfig, "llama", LLAMA),
    "llava_mistral": Family("Mistral", LlavaMistralConfig, "mistral", MISTRAL),
    "llava_qwen": Family("Qwen2", LlavaQwenConfig, "qwen2", QWEN),
    "llava_mpt": Family("MPT", LlavaMptConfig, "mpt", MPT),
}
_OLDER = {"llava": "llava_llama"}  # LLaVA's first name for it

_OF_TRANSFORMERS = (
    "a model of transformers' own, which this does not take; ask it with llava.eval.model_vqa, model_vqa_loader, "
    "model_vqa_mmbench, model_vqa_science or run_llava, or in Python with llava.hf.reduce; here use a LLaVA on Qwen2 "
    "(lmms-lab/llava-onevision-qwen2-7b-ov)"
)
# What people have and cannot load here: what it is, and the nearest thing that works.
_ELSEWHERE = {
    "llava_next_video": (
        "the transformers layout (llava-hf) of LLaVA-NeXT-Video; use the lmms-lab/ checkpoint of the same name "
        "(LLaVA-NeXT-Video-7B)"
    ),
    "video_llava": "Video-LLaVA, which has two towers; use a LLaVA-NeXT or OneVision checkpoint with video frames",
    "vipllava": "ViP-LLaVA, which reads five layers of its tower; use a LLaVA-1.5 checkpoint",
    "llava_gemma": "LLaVA on Gemma; use one on Llama-3 or Qwen2 (lmms-lab/llama3-llava-next-8b, llava_qwen)",
    "llava_mixtral": "LLaVA on Mixtral; use one on Mistral or Yi (liuhaotian/llava-v1.6-mistral-7b, -34b)",
    "llava_qwen_moe": "LLaVA on Qwen's experts; use one on Qwen2 (lmms-lab/llava-onevision-qwen2-7b-ov)",
    "llava_phi": "LLaVA on Phi; use one on Qwen2 (lmms-lab/llava-onevision-qwen2-0.5b-ov)",
    "tiny_llava": "TinyLLaVA; use lmms-lab/llava-onevision-qwen2-0.5b-ov",
    "bunny": "Bunny; use lmms-lab/llava-onevision-qwen2-0.5b-ov",
    **dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl"), _OF_TRANSFORMERS),
    **dict.fromkeys(
        ("internvl_chat", "mllama", "paligemma", "idefics2", "idefics3"),
        "no LLaVA; use one on Qwen2 (lmms-lab/llava-onevision-qwen2-7b-ov)",
    ),
}


def family_of(raw: Mapping[str, Any], path: str, plain: bool = False) -> Family:
    """The family that a `config.json` names.

    Args:
        path: of the checkpoint, for complaints.
        plain: the language model without eyes counts too.

    Raises:
        InputError: for any other, naming the nearest thing that works.
    """
    kind = raw.get("model_type")
    if isinstance(kind, str) and not (kind == "llava" and "text_config" in raw):
        family = FAMILIES.get(_OLDER.get(kind, kind)) or (_by_plain(kind) if plain else None)
        if family is not None:
            return family
    if isinstance(kind, str) and kind in _ELSEWHERE:
        raise InputError(f"a checkpoint must be a known LLaVA: '{path}' has model_type {kind}, {_ELSEWHERE[kind]}")
    known = ", ".join([*_OLDER, *FAMILIES] + [family.plain for family in FAMILIES.values() if plain])
    without = _by_plain(kind) if isinstance(kind, str) else None
    remedy = (
        f"{without.name} alone has no eyes; give it as --model-base beside a projector or an adapter"
        if without is not None
        else "use a liuhaotian/ or lmms-lab/ checkpoint on one of those"
    )
    raise InputError(f"unknown model family {shown(kind)} in '{path}': expected model_type {known}; {remedy}")


def family_with(config: Any) -> Family:
    """The family of a configuration that was made here; LLaMA's for another."""
    found = [family for family in FAMILIES.values() if isinstance(config, family.config)]
    return found[0] if found else FAMILIES["llava_llama"]


def all_rules() -> dict[str, Rule]:
    """Every setting that some family's language model has."""
    return {name: rule for family in FAMILIES.values() for name, rule in family.rules.items()}


def _by_plain(kind: str) -> Family | None:
    return next((family for family in FAMILIES.values() if family.plain == kind), None)
