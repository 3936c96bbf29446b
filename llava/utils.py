"""Small things that LLaVA's users import from `llava.utils`, and what needs no torch to be known."""


def disable_torch_init() -> None:
    """Do nothing; kept because LLaVA's commands and other programs call it before they load a model.

    LLaVA's function saved start-up time by replacing the default initialisation of torch's Linear and LayerNorm
    classes. This project assigns to no class it did not write, and transformers 5 builds a model on the meta device
    before it fills in the checkpoint's weights, so there is no initialisation left to skip.
    """


def get_model_name_from_path(model_path: str) -> str:
    """Return the last part of the path, with its parent in front when it is a training checkpoint.

    "liuhaotian/llava-v1.5-7b" -> "llava-v1.5-7b"; "out/llava-lora/checkpoint-900" -> "llava-lora_checkpoint-900".
    """
    *_, parent, last = ["", *model_path.strip("/").split("/")]
    return f"{parent}_{last}" if parent and last.startswith("checkpoint-") else last
