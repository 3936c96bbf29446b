"""The names that programs import from LLaVA (v1.2.2), with the arguments they pass.

A row holds a signature as LLaVA has it: parameters in their order, those with a default with it (as `str` writes it),
`**` where any keyword is taken; without `self`. Ours may take more, as long as every call in LLaVA's words means the
same. A row of None is a name without a signature of its own.
"""

import importlib
import inspect

import pytest

from llava import constants, utils

LOADER = (
    "model_path, model_base, model_name, load_8bit=False, load_4bit=False, device_map=auto, device=cuda, "
    "use_flash_attn=False, **"
)
FORWARD = (
    "input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None, labels=None, "
    "use_cache=None, output_attentions=None, output_hidden_states=None, images=None, image_sizes=None, return_dict=None"
)
MULTIMODAL = "input_ids, position_ids, attention_mask, past_key_values, labels, images, image_sizes=None"
TURN = "image, image_process_mode, return_pil=False, image_format=PNG, max_len=1344, min_len=672"
CONSTANTS = (
    "CONTROLLER_HEART_BEAT_EXPIRATION WORKER_HEART_BEAT_INTERVAL LOGDIR IGNORE_INDEX IMAGE_TOKEN_INDEX "
    "DEFAULT_IMAGE_TOKEN DEFAULT_IMAGE_PATCH_TOKEN DEFAULT_IM_START_TOKEN DEFAULT_IM_END_TOKEN IMAGE_PLACEHOLDER"
)
TEMPLATES = (
    "SeparatorStyle conv_templates default_conversation conv_vicuna_v0 conv_vicuna_v1 conv_llama_2 conv_llava_llama_2 "
    "conv_mpt conv_llava_plain conv_llava_v0 conv_llava_v0_mmtag conv_llava_v1 conv_llava_v1_mmtag "
    "conv_mistral_instruct conv_chatml_direct"
)
TOWER = "dummy_feature dtype device config hidden_size num_patches_per_side num_patches"

NAMES: dict[str, dict[str, str | None]] = {
    "llava": {"LlavaLlamaForCausalLM": None},
    "llava.constants": dict.fromkeys(CONSTANTS.split()),
    "llava.conversation": {
        **dict.fromkeys(TEMPLATES.split()),
        "Conversation": "system, roles, messages, offset, sep_style=SeparatorStyle.SINGLE, sep=###, sep2=None, "
        "version=Unknown, skip_next=False",
        "Conversation.get_prompt": "",
        "Conversation.append_message": "role, message",
        "Conversation.process_image": TURN,
        "Conversation.get_images": "return_pil=False",
        "Conversation.to_gradio_chatbot": "",
        "Conversation.copy": "",
        "Conversation.dict": "",
    },
    "llava.mm_utils": {
        "select_best_resolution": "original_size, possible_resolutions",
        "resize_and_pad_image": "image, target_resolution",
        "divide_to_patches": "image, patch_size",
        "get_anyres_image_grid_shape": "image_size, grid_pinpoints, patch_size",
        "process_anyres_image": "image, processor, grid_pinpoints",
        "load_image_from_base64": "image",
        "expand2square": "pil_img, background_color",
        "process_images": "images, image_processor, model_cfg",
        "tokenizer_image_token": "prompt, tokenizer, image_token_index=-200, return_tensors=None",
        "get_model_name_from_path": "model_path",
        "KeywordsStoppingCriteria": "keywords, tokenizer, input_ids",
        "KeywordsStoppingCriteria.__call__": "output_ids, scores, **",
        "KeywordsStoppingCriteria.call_for_batch": "output_ids, scores, **",
    },
    "llava.utils": {
        "server_error_msg": None,
        "moderation_msg": None,
        "build_logger": "logger_name, logger_filename",
        "StreamToLogger": "logger, log_level=20",
        "StreamToLogger.write": "buf",
        "StreamToLogger.flush": "",
        "disable_torch_init": "",
        "violates_moderation": "text",
        "pretty_print_semaphore": "semaphore",
    },
    "llava.model": {"LlavaConfig": None, "LlavaLlamaForCausalLM": "config"},
    "llava.model.builder": {"load_pretrained_model": LOADER},
    "llava.model.utils": {"auto_upgrade": "config"},
    "llava.model.llava_arch": {
        "unpad_image": "tensor, original_size",
        "LlavaMetaModel": "config",
        "LlavaMetaModel.get_vision_tower": "",
        "LlavaMetaModel.initialize_vision_modules": "model_args, fsdp=None",
        "LlavaMetaForCausalLM.get_vision_tower": "",
        "LlavaMetaForCausalLM.encode_images": "images",
        "LlavaMetaForCausalLM.prepare_inputs_labels_for_multimodal": MULTIMODAL,
        "LlavaMetaForCausalLM.initialize_vision_tokenizer": "model_args, tokenizer",
    },
    "llava.model.language_model.llava_llama": {
        "LlavaConfig": None,
        "LlavaLlamaModel": "config",
        "LlavaLlamaForCausalLM": "config",
        "LlavaLlamaForCausalLM.get_model": "",
        "LlavaLlamaForCausalLM.forward": FORWARD,
        "LlavaLlamaForCausalLM.generate": "inputs=None, images=None, image_sizes=None, **",
    },
    **{
        f"llava.model.language_model.llava_{family.lower()}": {
            f"Llava{family}Config": None,
            f"Llava{family}Model": "config",
            f"Llava{family}ForCausalLM": "config",
            f"Llava{family}ForCausalLM.get_model": "",
            f"Llava{family}ForCausalLM.forward": FORWARD,
            f"Llava{family}ForCausalLM.generate": "inputs=None, images=None, image_sizes=None, **",
        }
        for family in ("Mistral", "Mpt", "Qwen")
    },
    "llava.model.multimodal_encoder.builder": {"build_vision_tower": "vision_tower_cfg, **"},
    "llava.model.multimodal_encoder.clip_encoder": {
        **dict.fromkeys(f"CLIPVisionTower.{name}" for name in TOWER.split()),
        **dict.fromkeys(("CLIPVisionTower", "CLIPVisionTowerS2"), "vision_tower, args, delay_load=False"),
        "CLIPVisionTower.load_model": "device_map=None",
        "CLIPVisionTower.feature_select": "image_forward_outs",
        "CLIPVisionTower.forward": "images",
    },
    "llava.model.multimodal_projector.builder": {"build_vision_projector": "config, delay_load=False, **"},
    "llava.eval.run_llava": {
        "image_parser": "args",
        "load_image": "image_file",
        "load_images": "image_files",
        "eval_model": "args",
    },
    "llava.eval.eval_pope": {"eval_pope": "answers, label_file"},
    "llava.eval.m4c_evaluator": {
        "EvalAIAnswerProcessor": "**",
        "EvalAIAnswerProcessor.word_tokenize": "word",
        "EvalAIAnswerProcessor.process_punctuation": "in_text",
        "EvalAIAnswerProcessor.process_digit_article": "in_text",
        "EvalAIAnswerProcessor.__call__": "item",
        "TextVQAAccuracyEvaluator": "",
        "TextVQAAccuracyEvaluator.eval_pred_list": "pred_list",
        "STVQAAccuracyEvaluator": "",
        "STVQAAccuracyEvaluator.eval_pred_list": "pred_list",
        "STVQAANLSEvaluator": "",
        "STVQAANLSEvaluator.eval_pred_list": "pred_list",
        "TextCapsBleu4Evaluator": "",
        "TextCapsBleu4Evaluator.eval_pred_list": "pred_list",
    },
    # Not LLaVA's: VisionZip's one line.
    "llava.visionzip": {"visionzip": "model, dominant=191, contextual=30"},
}

ROWS = [(module, name) for module, rows in NAMES.items() for name in rows]


def parameters(thing: object) -> list[inspect.Parameter]:
    """What a caller may pass, without `self`."""
    found = list(inspect.signature(thing).parameters.values())  # type: ignore[arg-type]
    return found[1:] if found and found[0].name == "self" else found


def differences(row: str, ours: list[inspect.Parameter]) -> list[str]:
    """What a call in LLaVA's words would meet otherwise."""
    told = [part for part in row.split(", ") if part]
    anything = "**" in told
    wanted = [part.partition("=") for part in told if part != "**"]
    found = [f"{name} is not parameter {at}" for at, (name, _, _) in enumerate(wanted) if names_at(ours, at) != name]
    for at, (name, given, default) in enumerate(wanted):
        if at < len(ours) and ours[at].name == name and given and str(default_of(ours[at])) != default:
            found.append(f"{name}={default_of(ours[at])}")
    named = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    extra = [one.name for one in ours[len(wanted) :] if one.kind not in named and one.default is one.empty]
    if anything and not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in ours):
        found.append("no other keyword is taken")
    return found + [f"{name} must be given" for name in extra]


def names_at(ours: list[inspect.Parameter], at: int) -> str | None:
    """The name of what is passed at a position or by that name."""
    one = ours[at] if at < len(ours) else None
    return one.name if one is not None and one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD else None


def default_of(parameter: inspect.Parameter) -> object:
    """A default as a caller gets it."""
    return parameter.default


@pytest.mark.parametrize(("module", "name"), ROWS)
def test_the_name_is_there_and_takes_llavas_arguments(module: str, name: str) -> None:
    thing = importlib.import_module(module)
    for part in name.split("."):
        thing = getattr(thing, part)
    row = NAMES[module][name]
    if row is not None:
        assert differences(row, parameters(thing)) == []


def test_the_comparison_sees_what_differs() -> None:
    def ours(first: int, second: int = 2, *, third: int = 3) -> None: ...

    own = parameters(ours)
    assert differences("first, second=2", own) == []
    assert differences("first", own) == [] and differences("first, second", own) == []
    assert differences("second=2, first", own) == ["second is not parameter 0", "first is not parameter 1"]
    assert differences("first, second=1", own) == ["second=2"]
    assert differences("first, second=2, third=3", own) == ["third is not parameter 2"]
    assert differences("first, **", own) == ["no other keyword is taken"]
    assert differences("", own) == ["first must be given"]


def test_values_are_llavas() -> None:
    assert (constants.IGNORE_INDEX, constants.IMAGE_TOKEN_INDEX) == (-100, -200)
    assert constants.DEFAULT_IMAGE_TOKEN == "<image>" and constants.DEFAULT_IMAGE_PATCH_TOKEN == "<im_patch>"
    assert (constants.DEFAULT_IM_START_TOKEN, constants.DEFAULT_IM_END_TOKEN) == ("<im_start>", "<im_end>")
    assert constants.IMAGE_PLACEHOLDER == "<image-placeholder>"
    assert (constants.CONTROLLER_HEART_BEAT_EXPIRATION, constants.WORKER_HEART_BEAT_INTERVAL) == (30, 15)
    assert constants.LOGDIR == "."
    assert isinstance(utils.server_error_msg, str) and isinstance(utils.moderation_msg, str)


def test_the_model_type_is_llavas() -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    import llava.model

    config = AutoConfig.for_model("llava_llama")
    assert type(config) is llava.model.LlavaConfig
    assert AutoModelForCausalLM._model_mapping[type(config)] is llava.LlavaLlamaForCausalLM
    for family in ("Mistral", "Mpt", "Qwen"):
        config = AutoConfig.for_model(f"llava_{family.lower()}")
        assert type(config) is getattr(llava.model, f"Llava{family}Config")
        kind = getattr(llava.model, f"Llava{family}ForCausalLM")
        assert AutoModelForCausalLM._model_mapping[type(config)] is kind
