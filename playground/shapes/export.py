"""Write a trained model in LLaVA's original layout: the language model's file, and the vision tower's folder.

    python -m playground.shapes.export --run playground/shapes/run --output playground/shapes/llava-shapes

does so with the newest checkpoint of a run's stage of questions, finished or not.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from llava.errors import InputError
from llava.eval.runs.command import Parser, run
from llava.model import LlavaLlamaForCausalLM
from llava.train.saving import last_checkpoint, load_weights
from playground.shapes.models import ROPE_THETA, build_llava, preprocessor_config
from playground.shapes.tower import TowerWithTeacher

_TOWER = "model.vision_tower.vision_tower."
_SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>"}


def export(model: LlavaLlamaForCausalLM, vocabulary: Path, folder: Path) -> None:
    """Float16 weights, configurations as LLaVA writes them, and the tokenizer."""
    (folder / "vision_tower").mkdir(parents=True, exist_ok=True)
    half = {name: weight.detach().cpu().half().contiguous() for name, weight in model.state_dict().items()}
    tower = {f"vision_model.{name[len(_TOWER) :]}": half[name] for name in half if name.startswith(_TOWER)}
    language = {name: weight for name, weight in half.items() if not name.startswith(_TOWER)}
    save_file(language, folder / "model.safetensors", metadata={"format": "pt"})
    save_file(tower, folder / "vision_tower/model.safetensors", metadata={"format": "pt"})
    _write(folder / "config.json", language_config(model))
    _write(folder / "vision_tower/config.json", vision_config(model))
    _write(folder / "vision_tower/preprocessor_config.json", preprocessor_config(model.get_vision_tower().image_size))
    _write(folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0})
    _write(folder / "special_tokens_map.json", _SPECIAL)
    _write(folder / "tokenizer_config.json", tokenizer_config())
    if vocabulary.resolve() != (folder / "tokenizer.model").resolve():
        shutil.copyfile(vocabulary, folder / "tokenizer.model")


def language_config(model: LlavaLlamaForCausalLM) -> dict[str, Any]:
    """`config.json` with the keys of LLaVA-1.5's."""
    wanted = (
        *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
        *("num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "initializer_range", "hidden_act"),
        *("bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings", "attention_bias"),
        *("mm_vision_tower", "mm_hidden_size", "mm_projector_type", "mm_vision_select_layer"),
        *("mm_vision_select_feature", "mm_use_im_start_end", "mm_use_im_patch_token", "image_aspect_ratio"),
        *("tokenizer_model_max_length", "tokenizer_padding_side", "use_mm_proj"),
    )
    head = {"architectures": ["LlavaLlamaForCausalLM"], "model_type": "llava_llama", "torch_dtype": "float16"}
    return head | {"rope_theta": ROPE_THETA, "use_cache": True} | {key: getattr(model.config, key) for key in wanted}


def vision_config(model: LlavaLlamaForCausalLM) -> dict[str, Any]:
    """The tower's `config.json`."""
    wanted = (
        *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size"),
        *("patch_size", "num_channels", "hidden_act", "layer_norm_eps", "projection_dim"),
    )
    config = model.get_vision_tower().config
    head = {"architectures": ["CLIPVisionModel"], "model_type": "clip_vision_model", "torch_dtype": "float16"}
    return head | {key: getattr(config, key) for key in wanted}


def tokenizer_config() -> dict[str, Any]:
    """As the published LLaVA-1.5 checkpoints have it."""
    return _SPECIAL | {
        "tokenizer_class": "LlamaTokenizer",
        "add_bos_token": True,
        "add_eos_token": False,
        "legacy": True,
        "model_max_length": 2048,
        "padding_side": "right",
        "clean_up_tokenization_spaces": False,
        "spaces_between_special_tokens": False,
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def read_unfinished(folder: Path) -> LlavaLlamaForCausalLM:
    """The model of a run's stage of questions as its newest checkpoint has it."""
    last = folder / "questions"
    checkpoint = last_checkpoint(str(last))
    if checkpoint is None:
        raise InputError(f"a run must have reached its stage of questions: '{last}' has no checkpoint; train on")
    model = build_llava(TowerWithTeacher().clip.config.vision_config)
    load_weights(model, model, "full", checkpoint)
    return model


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m playground.shapes.export", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--run", default="playground/shapes/run", help="the --output of the training")
    parser.add_argument("--output", default="playground/shapes/llava-shapes", help="folder to write to")
    args = parser.parse_args()
    export(read_unfinished(Path(args.run)), Path(args.run) / "tokenizer.model", Path(args.output))


if __name__ == "__main__":
    run(main)
